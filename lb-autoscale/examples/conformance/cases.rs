//! The cases that check one rule each.

use lb_autoscale::hpa::{
    Changes, Direction, Group, Tolerance, Usage, group_pod, legacy_rate_limit, pod_request,
    policy_limit, propose, rate_limit,
};
use lb_autoscale::spec::EffectiveRules;
use lb_autoscale::{Inputs, Quantity};
use serde_json::{Map, Value, json};

use crate::build::{self, NOW, count, list};

type Outcome = Result<Value, String>;

pub(crate) fn replica_calculation(input: &Value) -> Outcome {
    let (metric, observation) = build::metric(&input["metric"], "metric".into());
    let mut inputs = Inputs::new(count(&input["current_replicas"])).pods(build::pods(
        input,
        input["metric"]["resource"].as_str().unwrap_or_default(),
    ));
    if !input["status_replicas"].is_null() {
        inputs = inputs.status_replicas(count(&input["status_replicas"]));
    }
    let tolerance = Tolerance {
        up: input["tolerance"]["up"].as_f64().unwrap_or(0.1),
        down: input["tolerance"]["down"].as_f64().unwrap_or(0.1),
    };
    let platform = build::platform(input);
    let got = propose(&metric, &observation, &inputs, tolerance, &platform, NOW)
        .map_err(|error| error.to_string())?;
    Ok(json!({
        "desired_replicas": got.replicas,
        "utilization_percent": got.utilization_percent,
        "average_milli": got.average.map(Quantity::milli),
        "total_milli": got.total.map(Quantity::milli),
    }))
}

pub(crate) fn pod_grouping(input: &Value) -> Value {
    let resource = input["resource"].as_str();
    let pods = build::pods(input, resource.unwrap_or_default());
    let samples = build::samples(&input["samples"]);
    let platform = build::platform(input);
    let (mut ready, mut names) = (0, [const { Vec::new() }; 3]);
    for pod in &pods {
        let sample = samples.iter().find(|sample| sample.pod == pod.name);
        match group_pod(pod, sample, resource, &platform, NOW) {
            Group::Ready => ready += 1,
            Group::Unready => names[0].push(pod.name.to_string()),
            Group::Missing => names[1].push(pod.name.to_string()),
            Group::Ignored => names[2].push(pod.name.to_string()),
        }
    }
    let [unready, missing, ignored] = names.map(|mut group| {
        group.sort();
        group
    });
    json!({ "ready_count": ready, "unready": unready, "missing": missing, "ignored": ignored })
}

pub(crate) fn pod_requests(input: &Value) -> Outcome {
    let resource = input["resource"].as_str().unwrap_or_default();
    let mut requests = Map::new();
    for pod in build::pods(input, resource) {
        let request = pod_request(&pod, resource, input["container"].as_str())
            .map_err(|error| error.to_string())?;
        requests.insert(pod.name.to_string(), request.milli().into());
    }
    Ok(json!({ "requests_milli": requests }))
}

fn usage(input: &Value, without_request: Option<Quantity>) -> Usage {
    let mut usage = Usage::default();
    for (pod, value) in input["values_milli"].as_object().into_iter().flatten() {
        let request = input["requests_milli"][pod]
            .as_i64()
            .map(Quantity::from_milli);
        let value = Quantity::from_milli(value.as_i64().unwrap_or(0));
        usage.add(value, request.or(without_request));
    }
    usage
}

pub(crate) fn utilization_ratio(input: &Value) -> Outcome {
    let got = usage(input, None)
        .utilization_ratio(count(&input["target_percent"]))
        .map_err(|error| error.to_string())?;
    Ok(json!({
        "ratio": got.ratio,
        "utilization_percent": got.utilization_percent,
        "average_milli": got.average.milli(),
    }))
}

pub(crate) fn usage_ratio(input: &Value) -> Value {
    let target = Quantity::from_milli(input["target_milli"].as_i64().unwrap_or(0));
    let got = usage(input, Some(Quantity::default())).average_ratio(target);
    json!({ "ratio": got.ratio, "average_milli": got.average.milli() })
}

pub(crate) fn default_rate_limit(input: &Value) -> Value {
    let platform = build::platform(input);
    let got = legacy_rate_limit(
        count(&input["current_replicas"]),
        count(&input["proposed_replicas"]),
        count(&input["min_replicas"])..=count(&input["max_replicas"]),
        platform.scale_up_limit_factor,
        platform.scale_up_limit_minimum,
    );
    json!({ "replicas": got.replicas, "reason": got.reason.to_string() })
}

pub(crate) fn limit_of_policies(input: &Value) -> Value {
    let rules = build::rules(&input["rule"]);
    let (direction, rules) = if input["direction"] == "up" {
        (Direction::Up, EffectiveRules::scale_up(&rules))
    } else {
        (Direction::Down, EffectiveRules::scale_down(&rules, 300))
    };
    let (ups, downs) = (
        build::events(&input["scale_up_events"]),
        build::events(&input["scale_down_events"]),
    );
    let changes = Changes {
        ups: &ups,
        downs: &downs,
        now: NOW,
    };
    json!({ "limit": policy_limit(direction, count(&input["current_replicas"]), &rules, changes) })
}

pub(crate) fn behavior_rate_limit(input: &Value) -> Value {
    let up = EffectiveRules::scale_up(&build::rules(&input["scale_up"]));
    let down = EffectiveRules::scale_down(&build::rules(&input["scale_down"]), 300);
    let (ups, downs) = (
        build::events(&input["scale_up_events"]),
        build::events(&input["scale_down_events"]),
    );
    let got = rate_limit(
        count(&input["current_replicas"]),
        count(&input["proposed_replicas"]),
        count(&input["min_replicas"])..=count(&input["max_replicas"]),
        &up,
        &down,
        Changes {
            ups: &ups,
            downs: &downs,
            now: NOW,
        },
    );
    json!({ "replicas": got.replicas, "reason": got.reason.to_string() })
}

pub(crate) fn default_stabilization(input: &Value) -> Value {
    let mut memory = build::recommendations(&input["history"]);
    let replicas = memory.stabilize_legacy(
        count(&input["proposed_replicas"]),
        count(&input["window_s"]),
        NOW,
    );
    json!({ "replicas": replicas, "history_len": memory.0.len() })
}

pub(crate) fn behavior_stabilization(input: &Value) -> Value {
    let mut memory = build::recommendations(&input["history"]);
    let replicas = memory.stabilize(
        count(&input["current_replicas"]),
        count(&input["proposed_replicas"]),
        count(&input["scale_up_window_s"]),
        count(&input["scale_down_window_s"]),
        NOW,
    );
    let remembered: Vec<u32> = memory.0.iter().map(|entry| entry.replicas).collect();
    json!({ "replicas": replicas, "history_replicas": remembered })
}

pub(crate) fn scale_event_log(input: &Value) -> Value {
    let mut log = build::events(&input["events"]);
    let before = log.change_within(count(&input["probe_period_s"]), NOW);
    if input["rule"].is_object() {
        let periods = list(&input["rule"]["policies"])
            .iter()
            .map(|policy| count(&policy["period_s"]));
        log.record(count(&input["change"]), periods.max().unwrap_or(0), NOW);
    }
    let events: Vec<Value> = log
        .0
        .iter()
        .map(|event| json!({ "change": event.change, "outdated": event.outdated }))
        .collect();
    json!({ "change_in_probe_period": before, "events": events })
}
