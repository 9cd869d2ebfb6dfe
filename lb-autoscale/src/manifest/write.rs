//! From a specification to a document.

use serde_json::{Map, Value, json};

use super::Manifest;
use crate::quantity::share_to_text;
use crate::spec::{Behavior, Metric, MetricIdentifier, MetricKind, Policy, ScalingRules, Target};

pub(super) fn manifest(manifest: &Manifest) -> Value {
    let Manifest {
        metadata,
        target,
        spec,
        ..
    } = manifest;
    let mut meta = Map::from_iter([("name".to_owned(), json!(metadata.name))]);
    if let Some(namespace) = &metadata.namespace {
        meta.insert("namespace".into(), json!(namespace));
    }
    for (key, entries) in [
        ("labels", &metadata.labels),
        ("annotations", &metadata.annotations),
    ] {
        if !entries.is_empty() {
            meta.insert(key.into(), json!(entries));
        }
    }
    let mut body = Map::from_iter([
        ("scaleTargetRef".to_owned(), json!(target)),
        ("minReplicas".to_owned(), json!(spec.min_replicas())),
        ("maxReplicas".to_owned(), json!(spec.max_replicas())),
        (
            "metrics".to_owned(),
            spec.metrics().iter().map(metric).collect(),
        ),
    ]);
    if let Some(rules) = spec.behavior() {
        body.insert("behavior".into(), behavior(rules));
    }
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta,
        "spec": body,
    })
}

fn metric(metric: &Metric) -> Value {
    let target = target(metric.target);
    match &metric.kind {
        MetricKind::Resource { name } => {
            json!({ "type": "Resource", "resource": { "name": name, "target": target } })
        }
        MetricKind::ContainerResource { name, container } => json!({
            "type": "ContainerResource",
            "containerResource": { "name": name, "container": container, "target": target },
        }),
        MetricKind::Pods(metric) => {
            json!({ "type": "Pods", "pods": { "metric": identifier(metric), "target": target } })
        }
        MetricKind::Object { metric, object } => json!({
            "type": "Object",
            "object": { "describedObject": object, "metric": identifier(metric), "target": target },
        }),
        MetricKind::External(metric) => {
            json!({ "type": "External", "external": { "metric": identifier(metric), "target": target } })
        }
        MetricKind::Unknown { kind } => json!({ "type": kind }),
    }
}

fn identifier(metric: &MetricIdentifier) -> Value {
    match &metric.selector {
        Some(selector) => json!({ "name": metric.name, "selector": selector }),
        None => json!({ "name": metric.name }),
    }
}

fn target(target: Target) -> Value {
    match target {
        Target::Utilization(percent) => {
            json!({ "type": "Utilization", "averageUtilization": percent })
        }
        Target::AverageValue(value) => {
            json!({ "type": "AverageValue", "averageValue": value.to_string() })
        }
        Target::Value(value) => json!({ "type": "Value", "value": value.to_string() }),
    }
}

fn behavior(behavior: &Behavior) -> Value {
    let directions = [
        ("scaleUp", &behavior.scale_up),
        ("scaleDown", &behavior.scale_down),
    ];
    let written = directions
        .into_iter()
        .filter(|(_, rules)| **rules != ScalingRules::default());
    Value::Object(
        written
            .map(|(name, direction)| (name.to_owned(), rules(direction)))
            .collect(),
    )
}

fn rules(rules: &ScalingRules) -> Value {
    let policies = rules
        .policies
        .as_ref()
        .map(|list| list.iter().copied().map(policy).collect());
    let tolerance = rules.tolerance.map(|share| json!(share_to_text(share)));
    let fields: [(&str, Option<Value>); 4] = [
        (
            "stabilizationWindowSeconds",
            rules.stabilization_window_seconds.map(Value::from),
        ),
        ("selectPolicy", rules.select.map(|select| json!(select))),
        ("policies", policies),
        ("tolerance", tolerance),
    ];
    let written = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(written.collect())
}

fn policy(policy: Policy) -> Value {
    json!({ "type": policy.kind, "value": policy.value, "periodSeconds": policy.period_seconds })
}
