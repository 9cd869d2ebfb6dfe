//! What breakers count.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::slots::Use;

/// Circuits that changed, by pool and new state.
const CHANGES: &str = "lb_circuit_changes_total";
/// Circuits that are not closed, by pool.
const OPEN: &str = "lb_circuits_open";
/// Requests that found a limit reached, by pool, what and whose.
const FULL: &str = "lb_upstream_limit_reached_total";

pub(crate) fn describe() {
    describe_counter!(CHANGES, "Circuits that changed, by new state");
    describe_gauge!(OPEN, "Circuits that are open or half open");
    describe_counter!(FULL, "Times a limit of an upstream or endpoint was reached");
}

pub(super) fn changed(pool: &str, to: &'static str) {
    counter!(CHANGES, "pool" => pool.to_owned(), "to" => to).increment(1);
}

pub(super) fn open(pool: &str, circuits: usize) {
    gauge!(OPEN, "pool" => pool.to_owned()).set(circuits as f64);
}

#[cold]
pub(super) fn full(pool: &str, of: Use, scope: &'static str) {
    let (pool, what) = (pool.to_owned(), of.code());
    counter!(FULL, "pool" => pool, "limit" => what, "scope" => scope).increment(1);
}
