//! What concurrency limits count.

use metrics::{counter, describe_counter};

use super::gate::Shed;

/// Requests answered with 503 by a concurrency limit, by reason.
const SHED: &str = "lb_concurrency_shed_total";

pub(crate) fn describe() {
    describe_counter!(SHED, "Requests refused by a concurrency limit, by reason");
}

pub(super) fn shed(why: Shed) {
    let reason = match why {
        Shed::QueueFull => "queue_full",
        Shed::WaitedTooLong => "waited_too_long",
    };
    counter!(SHED, "reason" => reason).increment(1);
}
