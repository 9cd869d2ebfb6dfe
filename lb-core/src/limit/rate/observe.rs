//! What limiters count.

use metrics::{counter, describe_counter};

use super::Verdict;

/// Requests weighed by rate limiters, by outcome: `allowed` or `refused`.
const REQUESTS: &str = "lb_rate_limit_requests_total";

pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests weighed by rate limiters, by outcome");
}

pub(super) fn weighed(verdict: &Verdict) {
    let outcome = match verdict {
        Verdict::Allowed { .. } => "allowed",
        Verdict::Refused { .. } => "refused",
    };
    counter!(REQUESTS, "outcome" => outcome).increment(1);
}
