//! Every metric of this crate that goes through the `metrics` facade.
//!
//! These are about the scheduler and the probe itself. The devices have an
//! [exporter](crate::exporter) of their own: a facade cannot make a series
//! disappear when a device does.
//!
//! ```
//! // Once, after the application has installed its recorder.
//! lb_gpu::observe::describe();
//! ```

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const SLOTS_IN_USE: &str = "lb_gpu_slots_in_use";
const SLOTS: &str = "lb_gpu_slots";
const SLOT_REQUESTS_WAITING: &str = "lb_gpu_slot_requests_waiting";
const SLOTS_GRANTED: &str = "lb_gpu_slot_grants_total";
const SLOTS_REFUSED: &str = "lb_gpu_slot_refusals_total";
const SLOT_WAIT: &str = "lb_gpu_slot_wait_seconds";
const PROBE_TIME: &str = "lb_gpu_probe_seconds";
const PROBE_FAILURES: &str = "lb_gpu_probe_failures_total";

/// Registers the help texts of all metrics. Call once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(
        SLOTS,
        Unit::Count,
        "Slots of all devices that are fit for work"
    );
    describe_gauge!(SLOTS_IN_USE, Unit::Count, "Slots that permits hold");
    describe_gauge!(
        SLOT_REQUESTS_WAITING,
        Unit::Count,
        "Requests that wait for a permit"
    );
    describe_counter!(SLOTS_GRANTED, Unit::Count, "Permits granted");
    describe_counter!(
        SLOTS_REFUSED,
        Unit::Count,
        "Requests refused without waiting, by reason"
    );
    describe_histogram!(
        SLOT_WAIT,
        Unit::Seconds,
        "How long a request waited for its permit"
    );
    describe_histogram!(
        PROBE_TIME,
        Unit::Seconds,
        "How long one look at all devices took"
    );
    describe_counter!(PROBE_FAILURES, Unit::Count, "Looks that failed as a whole");
}

pub(crate) fn slots((used, all): (u32, u32), waiting: usize) {
    gauge!(SLOTS).set(all);
    gauge!(SLOTS_IN_USE).set(used);
    gauge!(SLOT_REQUESTS_WAITING).set(waiting as f64);
}

pub(crate) fn slot_granted(waited: Duration) {
    counter!(SLOTS_GRANTED).increment(1);
    histogram!(SLOT_WAIT).record(waited);
}

pub(crate) fn slot_refused(reason: &'static str) {
    counter!(SLOTS_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn looked(took: Duration) {
    histogram!(PROBE_TIME).record(took);
}

pub(crate) fn look_failed() {
    counter!(PROBE_FAILURES).increment(1);
}
