//! Metric names, all in one place, through the `metrics` facade. What each one
//! means is in `docs/metrics/lb-autoscale.md`.
//!
//! ```
//! // Once, after the application has installed its recorder.
//! lb_autoscale::observe::describe();
//! ```

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::decision::Decision;

const DESIRED: &str = "lb_autoscale_desired_replicas";
const CURRENT: &str = "lb_autoscale_current_replicas";
const DECISIONS: &str = "lb_autoscale_decisions_total";
const CHANGES: &str = "lb_autoscale_changes_total";
const METRIC_FAILURES: &str = "lb_autoscale_metric_failures_total";
const ACTUATOR_FAILURES: &str = "lb_autoscale_actuator_failures_total";
#[cfg(feature = "process")]
const RESTARTS: &str = "lb_autoscale_process_restarts_total";
#[cfg(feature = "process")]
const DRAIN_TIMEOUTS: &str = "lb_autoscale_drain_timeouts_total";

/// Describes every metric to the installed recorder. Call once, after installing it.
pub fn describe() {
    describe_gauge!(DESIRED, "Replicas wanted by the last decision");
    describe_gauge!(CURRENT, "Replicas before the last decision");
    describe_counter!(DECISIONS, "Decisions made");
    describe_counter!(CHANGES, "Changes carried out, by direction");
    describe_counter!(METRIC_FAILURES, "Readings that failed, by metric");
    describe_counter!(
        ACTUATOR_FAILURES,
        "Times the fleet could not be seen or changed"
    );
    #[cfg(feature = "process")]
    describe_counter!(
        RESTARTS,
        "Processes restarted after they died or never became ready"
    );
    #[cfg(feature = "process")]
    describe_counter!(DRAIN_TIMEOUTS, "Drains cut off by their deadline");
}

pub(crate) fn decided(spec: &str, decision: &Decision) {
    let labels = [("spec", spec.to_owned())];
    gauge!(DESIRED, &labels).set(f64::from(decision.desired));
    gauge!(CURRENT, &labels).set(f64::from(decision.current));
    counter!(DECISIONS, &labels).increment(1);
    for metric in decision
        .metrics
        .iter()
        .filter(|metric| metric.error.is_some())
    {
        counter!(METRIC_FAILURES, "spec" => spec.to_owned(), "metric" => metric.id.clone())
            .increment(1);
    }
}

pub(crate) fn changed(spec: &str, decision: &Decision) {
    let direction = if decision.desired > decision.current {
        "up"
    } else {
        "down"
    };
    counter!(CHANGES, "spec" => spec.to_owned(), "direction" => direction).increment(1);
}

pub(crate) fn actuator_failed(spec: &str) {
    counter!(ACTUATOR_FAILURES, "spec" => spec.to_owned()).increment(1);
}

#[cfg(feature = "process")]
pub(crate) fn restarted(name: &str) {
    counter!(RESTARTS, "fleet" => name.to_owned()).increment(1);
}

#[cfg(feature = "process")]
pub(crate) fn drain_timed_out(name: &str) {
    counter!(DRAIN_TIMEOUTS, "fleet" => name.to_owned()).increment(1);
}
