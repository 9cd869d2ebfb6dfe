//! From a document to a specification, with the path of everything.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Manifest, ManifestError, Metadata};
use crate::Quantity;
use crate::quantity::{ParseQuantityError, parse_share};
use crate::spec::{
    Behavior, Metric, MetricIdentifier, MetricKind, ObjectRef, Policy, PolicyKind, ScalingRules,
    SelectPolicy, Spec, SpecError, Target,
};

type Read<T> = Result<T, SpecError>;

/// Metadata that the server adds; it is not the author's.
const SERVER_METADATA: [&str; 8] = [
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
];

pub(super) fn manifest(document: &Value) -> Result<Manifest, ManifestError> {
    let mut unknown = Vec::new();
    let root = Node::object(document, "")?;
    root.only(
        &["apiVersion", "kind", "metadata", "spec", "status"],
        &mut unknown,
    );
    root.text_is("apiVersion", "autoscaling/v2")?;
    root.text_is("kind", "HorizontalPodAutoscaler")?;
    let metadata = metadata(&root.required("metadata")?, &mut unknown)?;
    let spec = root.required("spec")?;
    let known = [
        "scaleTargetRef",
        "minReplicas",
        "maxReplicas",
        "metrics",
        "behavior",
    ];
    spec.only(&known, &mut unknown);
    let target = scale_target(&spec)?;
    let metrics = metrics(&spec, &mut unknown)?;
    let min = spec.count("minReplicas")?.unwrap_or(1);
    let max = spec
        .count("maxReplicas")?
        .ok_or_else(|| SpecError::new(spec.at("maxReplicas"), "is required"))?;
    let wakes = metrics.iter().any(|metric| {
        matches!(
            metric.kind,
            MetricKind::Object { .. } | MetricKind::External(_)
        )
    });
    let why =
        "may be 0 only with an object or external metric: pods that do not exist report nothing";
    spec.ensure(min > 0 || wakes, "minReplicas", why)?;
    let behavior = spec
        .optional("behavior")?
        .map(|node| behavior(&node, &mut unknown))
        .transpose()?;
    let builder = Spec::builder(metadata.name.clone())
        .replicas(min..=max)
        .behavior(behavior);
    let spec = metrics
        .into_iter()
        .fold(builder, crate::spec::SpecBuilder::metric)
        .build()
        .map_err(|error| SpecError::new(format!("spec.{}", error.field()), error.problem()))?;
    Ok(Manifest {
        metadata,
        target,
        spec,
        unknown_fields: unknown,
    })
}

fn scale_target(spec: &Node<'_>) -> Read<ObjectRef> {
    let target: ObjectRef = spec.required("scaleTargetRef")?.parsed()?;
    spec.ensure(
        !target.kind.is_empty(),
        "scaleTargetRef.kind",
        "must not be empty",
    )?;
    spec.ensure(
        !target.name.is_empty(),
        "scaleTargetRef.name",
        "must not be empty",
    )?;
    Ok(target)
}

fn metadata(node: &Node<'_>, unknown: &mut Vec<String>) -> Read<Metadata> {
    let known = ["name", "namespace", "labels", "annotations"];
    node.only(&[&known[..], &SERVER_METADATA[..]].concat(), unknown);
    let name: String = node.required_parsed("name")?;
    node.ensure(!name.is_empty(), "name", "must not be empty")?;
    Ok(Metadata {
        name,
        namespace: node.optional_parsed("namespace")?,
        labels: node.optional_parsed("labels")?.unwrap_or_default(),
        annotations: node.optional_parsed("annotations")?.unwrap_or_default(),
    })
}

/// Without metrics, Kubernetes watches CPU at 80 %.
fn metrics(spec: &Node<'_>, unknown: &mut Vec<String>) -> Read<Vec<Metric>> {
    let mut metrics: Vec<Metric> = Vec::new();
    for node in spec.items("metrics")? {
        let mut metric = metric(&Node::object(node.value, &node.path)?, unknown)?;
        let is_free = |id: &String| metrics.iter().all(|other| other.id != *id);
        let numbered = (2..).map(|number| format!("{}#{number}", metric.id));
        let id = std::iter::once(metric.id.clone())
            .chain(numbered)
            .find(is_free);
        metric.id = id.unwrap_or_default();
        metrics.push(metric);
    }
    if metrics.is_empty() {
        metrics.push(Metric::resource("cpu").utilization(80));
    }
    Ok(metrics)
}

fn metric(node: &Node<'_>, unknown: &mut Vec<String>) -> Read<Metric> {
    const KINDS: [(&str, &str); 5] = [
        ("Resource", "resource"),
        ("ContainerResource", "containerResource"),
        ("Pods", "pods"),
        ("Object", "object"),
        ("External", "external"),
    ];
    let kind: String = node.required_parsed("type")?;
    let Some((_, field)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let known = "must be Resource, ContainerResource, Pods, Object or External";
        return Err(SpecError::new(node.at("type"), known));
    };
    node.only(&["type", field], unknown);
    let source = node.required(field)?;
    let target = target(&source.required("target")?, unknown)?;
    let name = || source.required_parsed::<String>("name");
    let (id, kind) = match *field {
        "resource" => {
            source.only(&["name", "target"], unknown);
            (name()?, MetricKind::Resource { name: name()? })
        }
        "containerResource" => {
            source.only(&["name", "container", "target"], unknown);
            let container: String = source.required_parsed("container")?;
            (
                format!("{}/{container}", name()?),
                MetricKind::ContainerResource {
                    name: name()?,
                    container,
                },
            )
        }
        "object" => {
            source.only(&["describedObject", "metric", "target"], unknown);
            let metric = identifier(&source, unknown)?;
            let object = source.required("describedObject")?.parsed()?;
            (metric.name.clone(), MetricKind::Object { metric, object })
        }
        other => {
            source.only(&["metric", "target"], unknown);
            let metric = identifier(&source, unknown)?;
            let id = metric.name.clone();
            (
                id,
                if other == "pods" {
                    MetricKind::Pods(metric)
                } else {
                    MetricKind::External(metric)
                },
            )
        }
    };
    Ok(Metric::new(id, kind, target))
}

fn identifier(source: &Node<'_>, unknown: &mut Vec<String>) -> Read<MetricIdentifier> {
    let metric = source.required("metric")?;
    metric.only(&["name", "selector"], unknown);
    Ok(MetricIdentifier {
        name: metric.required_parsed("name")?,
        selector: metric.optional_parsed("selector")?,
    })
}

fn target(node: &Node<'_>, unknown: &mut Vec<String>) -> Read<Target> {
    let kind: String = node.required_parsed("type")?;
    let field = match kind.as_str() {
        "Utilization" => "averageUtilization",
        "AverageValue" => "averageValue",
        "Value" => "value",
        _ => {
            let known = "must be Utilization, AverageValue or Value";
            return Err(SpecError::new(node.at("type"), known));
        }
    };
    node.only(&["type", field], unknown);
    if field == "averageUtilization" {
        let percent = node.count(field)?;
        return percent
            .map(Target::Utilization)
            .ok_or_else(|| SpecError::new(node.at(field), "is required"));
    }
    let quantity = node.quantity(field)?;
    let quantity = quantity.ok_or_else(|| SpecError::new(node.at(field), "is required"))?;
    Ok(if field == "value" {
        Target::Value(quantity)
    } else {
        Target::AverageValue(quantity)
    })
}

fn behavior(node: &Node<'_>, unknown: &mut Vec<String>) -> Read<Behavior> {
    node.only(&["scaleUp", "scaleDown"], unknown);
    let mut direction = |name: &str| -> Read<ScalingRules> {
        let Some(node) = node.optional(name)? else {
            return Ok(ScalingRules::default());
        };
        rules(&node, unknown)
    };
    Ok(Behavior {
        scale_up: direction("scaleUp")?,
        scale_down: direction("scaleDown")?,
    })
}

fn rules(node: &Node<'_>, unknown: &mut Vec<String>) -> Read<ScalingRules> {
    node.only(
        &[
            "stabilizationWindowSeconds",
            "selectPolicy",
            "policies",
            "tolerance",
        ],
        unknown,
    );
    let select = match node.optional_parsed::<String>("selectPolicy")?.as_deref() {
        None => None,
        Some("Max") => Some(SelectPolicy::Max),
        Some("Min") => Some(SelectPolicy::Min),
        Some("Disabled") => Some(SelectPolicy::Disabled),
        Some(_) => {
            return Err(SpecError::new(
                node.at("selectPolicy"),
                "must be Max, Min or Disabled",
            ));
        }
    };
    let policies = match node.optional_value("policies") {
        None => None,
        Some(_) => Some(
            node.items("policies")?
                .iter()
                .map(|item| policy(&Node::object(item.value, &item.path)?, unknown))
                .collect::<Read<Vec<Policy>>>()?,
        ),
    };
    Ok(ScalingRules {
        select,
        stabilization_window_seconds: node.count("stabilizationWindowSeconds")?,
        policies,
        tolerance: node.number("tolerance", parse_share)?,
    })
}

fn policy(node: &Node<'_>, unknown: &mut Vec<String>) -> Read<Policy> {
    node.only(&["type", "value", "periodSeconds"], unknown);
    let kind: String = node.required_parsed("type")?;
    let kind = match kind.as_str() {
        "Pods" => PolicyKind::Pods,
        "Percent" => PolicyKind::Percent,
        _ => return Err(SpecError::new(node.at("type"), "must be Pods or Percent")),
    };
    let required = |field: &str| {
        node.count(field)?
            .ok_or_else(|| SpecError::new(node.at(field), "is required"))
    };
    Ok(Policy {
        kind,
        value: required("value")?,
        period_seconds: required("periodSeconds")?,
    })
}

// === Node ===

/// An object of the document and where it stands.
struct Node<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

struct Item<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    fn object(value: &'a Value, path: &str) -> Read<Self> {
        let at = if path.is_empty() { "document" } else { path };
        let map = value
            .as_object()
            .ok_or_else(|| SpecError::new(at, "must be an object"))?;
        Ok(Self {
            map,
            path: path.to_owned(),
        })
    }

    fn at(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }

    fn ensure(&self, holds: bool, field: &str, problem: &str) -> Read<()> {
        if holds {
            Ok(())
        } else {
            Err(SpecError::new(self.at(field), problem))
        }
    }

    /// Lists every field that is not among the known ones.
    fn only(&self, known: &[&str], unknown: &mut Vec<String>) {
        let strange = self.map.keys().filter(|key| !known.contains(&key.as_str()));
        unknown.extend(strange.map(|key| self.at(key)));
    }

    fn optional_value(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn optional(&self, field: &str) -> Read<Option<Self>> {
        self.optional_value(field)
            .map(|value| Self::object(value, &self.at(field)))
            .transpose()
    }

    fn required(&self, field: &str) -> Read<Self> {
        self.optional(field)?
            .ok_or_else(|| SpecError::new(self.at(field), "is required"))
    }

    fn items(&self, field: &str) -> Read<Vec<Item<'a>>> {
        let Some(value) = self.optional_value(field) else {
            return Ok(Vec::new());
        };
        let list = value
            .as_array()
            .ok_or_else(|| SpecError::new(self.at(field), "must be a list"))?;
        let item = |(index, value)| Item {
            value,
            path: format!("{}[{index}]", self.at(field)),
        };
        Ok(list.iter().enumerate().map(item).collect())
    }

    fn parsed<T: DeserializeOwned>(&self) -> Read<T> {
        serde_json::from_value(Value::Object(self.map.clone()))
            .map_err(|error| SpecError::new(self.path.clone(), error.to_string()))
    }

    fn optional_parsed<T: DeserializeOwned>(&self, field: &str) -> Read<Option<T>> {
        let parse = |value: &Value| {
            serde_json::from_value(value.clone())
                .map_err(|error| SpecError::new(self.at(field), error.to_string()))
        };
        self.optional_value(field).map(parse).transpose()
    }

    fn required_parsed<T: DeserializeOwned>(&self, field: &str) -> Read<T> {
        self.optional_parsed(field)?
            .ok_or_else(|| SpecError::new(self.at(field), "is required"))
    }

    fn count(&self, field: &str) -> Read<Option<u32>> {
        let parse = |value: &Value| {
            let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
            let count = count.filter(|count| *count <= i32::MAX as u32);
            count.ok_or_else(|| {
                SpecError::new(self.at(field), "must be a whole number, zero or more")
            })
        };
        self.optional_value(field).map(parse).transpose()
    }

    fn quantity(&self, field: &str) -> Read<Option<Quantity>> {
        self.number(field, str::parse)
    }

    /// What is a quantity in the document, and what YAML may have read as a number.
    fn number<T>(
        &self,
        field: &str,
        parse: impl Fn(&str) -> Result<T, ParseQuantityError>,
    ) -> Read<Option<T>> {
        let parse = |value: &Value| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            parse(&text).map_err(|error| SpecError::new(self.at(field), error.to_string()))
        };
        self.optional_value(field).map(parse).transpose()
    }

    fn text_is(&self, field: &str, expected: &str) -> Read<()> {
        let text: String = self.required_parsed(field)?;
        self.ensure(text == expected, field, &format!("must be {expected}"))
    }
}
