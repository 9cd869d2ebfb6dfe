//! What health checks count.

use metrics::{counter, describe_counter};

/// Probes answered, by pool and outcome: `well`, `failed` or `void`.
const PROBES: &str = "lb_health_probes_total";
/// Verdicts that turned, by pool and direction: `up` or `down`.
const CHANGES: &str = "lb_health_changes_total";

pub(crate) fn describe() {
    describe_counter!(PROBES, "Health probes, by outcome");
    describe_counter!(CHANGES, "Health verdicts that turned, by direction");
}

pub(super) fn probed(pool: &str, outcome: &'static str) {
    counter!(PROBES, "pool" => pool.to_owned(), "outcome" => outcome).increment(1);
}

pub(super) fn changed(pool: &str, up: bool) {
    let direction = if up { "up" } else { "down" };
    counter!(CHANGES, "pool" => pool.to_owned(), "direction" => direction).increment(1);
}
