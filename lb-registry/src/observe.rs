//! The names of this crate's metrics, in one place.
//!
//! ```
//! lb_registry::observe::describe();
//! ```

use metrics::{Unit, counter, describe_counter, describe_gauge};

const REGISTRATIONS: &str = "lb_registry_registrations_total";
const HEARTBEAT_FAILURES: &str = "lb_registry_heartbeat_failures_total";
const INSTANCES: &str = "lb_registry_instances";
const STALE: &str = "lb_registry_stale";
const ALARM: &str = "lb_registry_access_denied";
const ANSWERS: &str = "lb_registry_answers_total";
const HELD: &str = "lb_registry_held_instances";
const SERVER_REQUESTS: &str = "lb_registry_server_requests_total";
const SERVER_BLOCKED: &str = "lb_registry_server_blocked_queries";
const SHARED_CONNECTED: &str = "lb_registry_shared_connected";
const SHARED_WRITES: &str = "lb_registry_shared_writes_total";

/// Tells the metrics recorder what the names mean. Call it once, after the recorder is installed.
pub fn describe() {
    describe_counter!(
        REGISTRATIONS,
        Unit::Count,
        "attempts to register, by outcome"
    );
    describe_counter!(
        HEARTBEAT_FAILURES,
        Unit::Count,
        "heartbeats that were not confirmed"
    );
    describe_gauge!(
        INSTANCES,
        Unit::Count,
        "instances in the published set of a watched service"
    );
    describe_gauge!(
        STALE,
        Unit::Count,
        "1 while a watched set is kept without fresh answers"
    );
    describe_gauge!(
        ALARM,
        Unit::Count,
        "1 while the registry denies access to a watched service"
    );
    describe_counter!(
        ANSWERS,
        Unit::Count,
        "answers of the registry to a watch, by kind"
    );
    describe_gauge!(
        HELD,
        Unit::Count,
        "instances that vanished and are kept for a while"
    );
    describe_counter!(
        SERVER_REQUESTS,
        Unit::Count,
        "requests to the embedded server, by status class"
    );
    describe_gauge!(
        SERVER_BLOCKED,
        Unit::Count,
        "queries that wait for a change"
    );
    describe_gauge!(
        SHARED_CONNECTED,
        Unit::Count,
        "1 while this replica follows what the replicas share"
    );
    describe_counter!(
        SHARED_WRITES,
        Unit::Count,
        "changes of what the replicas share, by outcome"
    );
}

pub(crate) fn registered(service: &str) {
    counter!(REGISTRATIONS, "service" => service.to_owned(), "outcome" => "ok").increment(1);
}

pub(crate) fn registration_failed(service: &str) {
    counter!(REGISTRATIONS, "service" => service.to_owned(), "outcome" => "failed").increment(1);
}

pub(crate) fn heartbeat_failed(service: &str) {
    counter!(HEARTBEAT_FAILURES, "service" => service.to_owned()).increment(1);
}

pub(crate) fn answer(service: &str, kind: &'static str) {
    counter!(ANSWERS, "service" => service.to_owned(), "kind" => kind).increment(1);
}

pub(crate) fn published(service: &str, instances: usize, stale: bool, denied: bool, held: usize) {
    let flag = |on: bool| f64::from(u8::from(on));
    let labelled = |name: &'static str| metrics::gauge!(name, "service" => service.to_owned());
    labelled(INSTANCES).set(instances as f64);
    labelled(STALE).set(flag(stale));
    labelled(ALARM).set(flag(denied));
    labelled(HELD).set(held as f64);
}

#[cfg(feature = "server")]
pub(crate) fn served(status: http::StatusCode) {
    let class = match status.as_u16() {
        200..300 => "2xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "other",
    };
    counter!(SERVER_REQUESTS, "class" => class).increment(1);
}

#[cfg(feature = "server")]
pub(crate) fn blocked(change: f64) {
    metrics::gauge!(SERVER_BLOCKED).increment(change);
}

#[cfg(feature = "etcd")]
pub(crate) fn shared_connected(connected: bool) {
    metrics::gauge!(SHARED_CONNECTED).set(f64::from(u8::from(connected)));
}

#[cfg(feature = "etcd")]
pub(crate) fn shared_write(done: bool) {
    counter!(SHARED_WRITES, "outcome" => if done { "ok" } else { "failed" }).increment(1);
}
