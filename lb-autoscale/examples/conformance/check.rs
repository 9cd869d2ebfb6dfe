//! Runs a case and compares.

use serde_json::Value;

use crate::{cases, whole};

/// Runs one case and compares what it expects; keys that it does not mention are free.
pub(crate) fn check(case: &Value) -> Result<(), String> {
    let input = &case["input"];
    let got = match case["kind"].as_str().unwrap_or_default() {
        "replica_calculation" => cases::replica_calculation(input),
        "pod_grouping" => Ok(cases::pod_grouping(input)),
        "pod_requests" => cases::pod_requests(input),
        "utilization_ratio" => cases::utilization_ratio(input),
        "usage_ratio" => Ok(cases::usage_ratio(input)),
        "default_rate_limit" => Ok(cases::default_rate_limit(input)),
        "policy_limit" => Ok(cases::limit_of_policies(input)),
        "behavior_rate_limit" => Ok(cases::behavior_rate_limit(input)),
        "default_stabilization" => Ok(cases::default_stabilization(input)),
        "behavior_stabilization" => Ok(cases::behavior_stabilization(input)),
        "scale_event_log" => Ok(cases::scale_event_log(input)),
        "reconcile" => whole::reconcile(input),
        "sequence" => whole::sequence(input),
        other => return Err(format!("unknown kind {other}")),
    };
    let expected = &case["expected"];
    match (got, expected["error"].is_string()) {
        (Ok(got), false) => compare("", expected, &got),
        (Ok(got), true) => Err(format!("expected {}, got {got}", expected["error"])),
        (Err(_), true) => Ok(()),
        (Err(error), false) => Err(format!("failed: {error}")),
    }
}

fn compare(path: &str, expected: &Value, got: &Value) -> Result<(), String> {
    let alike =
        match (expected, got) {
            (Value::Object(wanted), Value::Object(_)) => {
                return wanted.iter().try_for_each(|(key, value)| {
                    compare(&format!("{path}/{key}"), value, &got[key])
                });
            }
            (Value::Array(wanted), Value::Array(items)) if wanted.len() == items.len() => {
                return wanted.iter().zip(items).enumerate().try_for_each(
                    |(index, (wanted, item))| compare(&format!("{path}/{index}"), wanted, item),
                );
            }
            (Value::Number(wanted), Value::Number(number)) => {
                wanted == number || wanted.as_f64() == number.as_f64()
            }
            _ => expected == got,
        };
    if alike {
        Ok(())
    } else {
        Err(format!("{path}: expected {expected}, got {got}"))
    }
}
