//! The cases that check whole decisions, one or many in a row.

use lb_autoscale::decision::{Condition, Conditions};
use lb_autoscale::hpa::History;
use lb_autoscale::inputs::{Observation, Reading};
use lb_autoscale::spec::{Metric, SpecBuilder};
use lb_autoscale::{Inputs, Quantity, Spec, State, UnixMillis, decide};
use serde_json::{Map, Value, json};

use crate::build::{self, NOW, count, list};

fn spec(input: &Value, metrics: impl IntoIterator<Item = Metric>) -> Result<Spec, String> {
    let builder = Spec::builder("case")
        .replicas(count(&input["min_replicas"])..=count(&input["max_replicas"]))
        .behavior(build::behavior(&input["behavior"]))
        .platform(build::platform(input));
    metrics
        .into_iter()
        .fold(builder, SpecBuilder::metric)
        .build()
        .map_err(|error| error.to_string())
}

pub(crate) fn reconcile(input: &Value) -> Result<Value, String> {
    let resource = list(&input["metrics"])
        .iter()
        .find_map(|metric| metric["resource"].as_str())
        .unwrap_or_default();
    let mut inputs =
        Inputs::new(count(&input["current_replicas"])).pods(build::pods(input, resource));
    if !input["status_replicas"].is_null() {
        inputs = inputs.status_replicas(count(&input["status_replicas"]));
    }
    let mut metrics = Vec::new();
    for (index, given) in list(&input["metrics"]).iter().enumerate() {
        let (metric, observation) = build::metric(given, format!("metric-{index}"));
        inputs = inputs.observe(metric.id.clone(), observation);
        metrics.push(metric);
    }
    let mut state = State::with_history(History {
        recommendations: input["history"]
            .is_array()
            .then(|| build::recommendations(&input["history"])),
        scale_ups: build::events(&input["scale_up_events"]),
        scale_downs: build::events(&input["scale_down_events"]),
    });
    let decision = decide(&spec(input, metrics)?, &mut state, &inputs, NOW);
    Ok(json!({
        "desired_replicas": decision.desired,
        "conditions": conditions(&decision.conditions),
        "first_metric_utilization_percent":
            decision.metrics.first().and_then(|metric| metric.utilization_percent),
        "error": decision.error.is_some(),
    }))
}

pub(crate) fn sequence(input: &Value) -> Result<Value, String> {
    let (metric, _) = build::metric(&input["metric"], "load".into());
    let spec = spec(input, [metric])?;
    let mut state = State::default();
    let mut current = count(&input["start_replicas"]);
    let (mut desired, mut reasons) = (Vec::new(), Vec::new());
    for step in list(&input["steps"]) {
        let observation = match step["total_milli"].as_i64() {
            Some(total) => Observation::from(Reading::Values(vec![Quantity::from_milli(total)])),
            None => Observation::failed("the case says so"),
        };
        let at = UnixMillis::from_secs(1_000_000 + step["at_s"].as_i64().unwrap_or(0));
        let decision = decide(
            &spec,
            &mut state,
            &Inputs::new(current).observe("load", observation),
            at,
        );
        current = decision.desired;
        desired.push(decision.desired);
        let reached = conditions(&decision.conditions);
        let only_reasons: Map<String, Value> = reached
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, condition)| (name.clone(), condition["reason"].clone()))
            .collect();
        reasons.push(Value::Object(only_reasons));
    }
    Ok(json!({ "desired_replicas": desired, "reasons": reasons }))
}

fn conditions(conditions: &Conditions) -> Value {
    let entry = |condition: Option<Condition>| match condition {
        Some(Condition { status, reason, .. }) => {
            json!({ "status": status, "reason": reason.to_string() })
        }
        None => Value::Null,
    };
    json!({
        "AbleToScale": entry(conditions.able_to_scale),
        "ScalingActive": entry(conditions.scaling_active),
        "ScalingLimited": entry(conditions.scaling_limited),
    })
}
