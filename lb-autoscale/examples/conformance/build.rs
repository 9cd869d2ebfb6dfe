//! From the cases' vocabulary to the engine's.

use std::sync::Arc;

use lb_autoscale::hpa::{Recommendation, Recommendations, ScaleEvent, ScaleEvents};
use lb_autoscale::inputs::{Container, Observation, Phase, Pod, PodSample, Reading, SampleValue};
use lb_autoscale::spec::{
    Behavior, Metric, MetricIdentifier, MetricKind, ObjectRef, Platform, Policy, PolicyKind,
    ScalingRules, SelectPolicy, Target,
};
use lb_autoscale::{Quantity, UnixMillis};
use serde_json::Value;

/// The one instant of a case that has no steps.
pub(crate) const NOW: UnixMillis = UnixMillis::from_secs(1_000_000);

pub(crate) fn count(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or(0)).unwrap_or(u32::MAX)
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn milli(value: &Value) -> Quantity {
    Quantity::from_milli(value.as_i64().unwrap_or(0))
}

fn ago(value: &Value) -> Option<UnixMillis> {
    value
        .as_i64()
        .map(|age| UnixMillis::from_millis(NOW.millis() - age * 1_000))
}

pub(crate) fn platform(input: &Value) -> Platform {
    let tolerance = |direction: &str| input["tolerance"][direction].as_f64().unwrap_or(0.1);
    let or = |key: &str, default: u32| {
        if input[key].is_null() {
            default
        } else {
            count(&input[key])
        }
    };
    let limit = &input["scale_up_limit"];
    Platform {
        scale_up_tolerance: tolerance("up"),
        scale_down_tolerance: tolerance("down"),
        downscale_stabilization_seconds: or("downscale_stabilization_s", 300),
        cpu_initialization_period_seconds: or("cpu_initialization_period_s", 300),
        initial_readiness_delay_seconds: or("initial_readiness_delay_s", 30),
        scale_up_limit_factor: limit["factor"].as_f64().unwrap_or(2.0),
        scale_up_limit_minimum: limit["minimum"]
            .as_u64()
            .map_or(4, |_| count(&limit["minimum"])),
    }
}

pub(crate) fn pods(input: &Value, resource: &str) -> Vec<Pod> {
    list(&input["pods"])
        .iter()
        .map(|pod| one_pod(pod, resource))
        .collect()
}

fn one_pod(pod: &Value, resource: &str) -> Pod {
    let containers = |key: &str| -> Arc<[Container]> {
        list(&pod[key])
            .iter()
            .map(|container| one_container(container, resource))
            .collect()
    };
    let mut built = Pod::pending(text(&pod["name"])).phase(match text(&pod["phase"]) {
        "Pending" => Phase::Pending,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => Phase::Running,
    });
    built.ready = pod["ready"].as_bool();
    built.started_at = ago(&pod["started_age_s"]);
    built.ready_changed_at = ago(&pod["ready_changed_age_s"]);
    built.deleting = pod["deleting"] == true;
    built.containers = containers("containers");
    built.init_containers = containers("init_containers");
    built
}

/// A case has one request per container: of whatever resource the metric asks for.
fn one_container(container: &Value, resource: &str) -> Container {
    let request = container["request_milli"]
        .as_i64()
        .map(Quantity::from_milli);
    let mut built = Container {
        name: text(&container["name"]).into(),
        restart_always: container["restart_always"] == true,
        ..Container::default()
    };
    match (resource, request) {
        ("memory", request) => built.memory = request,
        ("cpu" | "", request) => (built.cpu, built.memory) = (request, request),
        (other, Some(request)) => {
            built.other.insert(other.into(), request);
        }
        (_, None) => {}
    }
    built
}

pub(crate) fn samples(list_of: &Value) -> Vec<PodSample> {
    list(list_of)
        .iter()
        .map(|sample| PodSample {
            pod: Arc::from(text(&sample["pod"])),
            value: match sample["containers_milli"].as_object() {
                Some(containers) => SampleValue::Containers(
                    containers
                        .iter()
                        .map(|(name, value)| {
                            (
                                Arc::from(name.as_str()),
                                value.as_i64().map(Quantity::from_milli),
                            )
                        })
                        .collect(),
                ),
                None => SampleValue::Pod(milli(&sample["value_milli"])),
            },
            at: ago(&sample["age_s"]),
            window_seconds: count(&sample["window_s"]),
        })
        .collect()
}

/// The metric of a case and what was observed of it.
pub(crate) fn metric(given: &Value, id: String) -> (Metric, Observation) {
    let ident = MetricIdentifier {
        name: "metric".into(),
        selector: None,
    };
    let resource = text(&given["resource"]).to_owned();
    let kind = match (text(&given["source"]), given["container"].as_str()) {
        ("resource", None) => MetricKind::Resource { name: resource },
        ("resource", Some(container)) => MetricKind::ContainerResource {
            name: resource,
            container: container.into(),
        },
        ("pods", _) => MetricKind::Pods(ident),
        ("object", _) => MetricKind::Object {
            metric: ident,
            object: ObjectRef {
                api_version: String::new(),
                kind: "Queue".into(),
                name: "queue".into(),
            },
        },
        ("external", _) => MetricKind::External(ident),
        (other, _) => MetricKind::Unknown { kind: other.into() },
    };
    let target = match text(&given["target"]["type"]) {
        "utilization" => Target::Utilization(count(&given["target"]["percent"])),
        "average_value" => Target::AverageValue(milli(&given["target"]["milli"])),
        _ => Target::Value(milli(&given["target"]["milli"])),
    };
    let observation = if given["fetch_error"] == true {
        Observation::failed("the case says so")
    } else if given["samples"].is_array() {
        Observation::pods(samples(&given["samples"]))
    } else {
        Observation::from(Reading::Values(
            list(&given["values_milli"]).iter().map(milli).collect(),
        ))
    };
    let metric = Metric {
        id,
        kind,
        target,
        stale_after_seconds: None,
        fallback: Default::default(),
    };
    (metric, observation)
}

pub(crate) fn rules(given: &Value) -> ScalingRules {
    ScalingRules {
        select: given["select"].as_str().map(|select| match select {
            "Min" => SelectPolicy::Min,
            "Disabled" => SelectPolicy::Disabled,
            _ => SelectPolicy::Max,
        }),
        stabilization_window_seconds: given["stabilization_window_s"]
            .as_u64()
            .map(|_| count(&given["stabilization_window_s"])),
        policies: given["policies"]
            .as_array()
            .map(|policies| policies.iter().map(policy).collect()),
        tolerance: None,
    }
}

fn policy(given: &Value) -> Policy {
    Policy {
        kind: if given["type"] == "Pods" {
            PolicyKind::Pods
        } else {
            PolicyKind::Percent
        },
        value: count(&given["value"]),
        period_seconds: count(&given["period_s"]),
    }
}

/// The behavior block of a case.
pub(crate) fn behavior(given: &Value) -> Option<Behavior> {
    given.is_object().then(|| Behavior {
        scale_up: rules(&given["scale_up"]),
        scale_down: rules(&given["scale_down"]),
    })
}

pub(crate) fn events(given: &Value) -> ScaleEvents {
    ScaleEvents(
        list(given)
            .iter()
            .map(|event| ScaleEvent {
                change: count(&event["change"]),
                at: ago(&event["age_s"]).unwrap_or(NOW),
                outdated: event["outdated"] == true,
            })
            .collect(),
    )
}

pub(crate) fn recommendations(given: &Value) -> Recommendations {
    Recommendations(
        list(given)
            .iter()
            .map(|entry| Recommendation {
                replicas: count(&entry["replicas"]),
                at: ago(&entry["age_s"]).unwrap_or(NOW),
            })
            .collect(),
    )
}
