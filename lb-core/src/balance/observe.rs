//! What balanced services count. Handles are made with a pool's first service: install
//! the recorder before that.

use http::StatusCode;
use metrics::{Counter, counter, describe_counter};

use crate::endpoint::Answers;

const REQUESTS: &str = "lb_balance_requests_total";
const REFUSALS: &str = "lb_balance_refusals_total";
const MOVED: &str = "lb_balance_moved_total";

/// Registers the help texts.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Answers of in-process endpoints, by status class");
    describe_counter!(REFUSALS, "Requests without an endpoint's answer, by reason");
    describe_counter!(MOVED, "Requests that left an endpoint that was not ready");
}

/// The counters of one balanced service.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pool: String,
    /// By the first digit of the status, 1 to 5.
    requests: [Counter; 5],
    moved: Counter,
}

impl Metrics {
    pub(super) fn new(pool: &str) -> Self {
        let pool = pool.to_owned();
        let class =
            |class: &'static str| counter!(REQUESTS, "pool" => pool.clone(), "class" => class);
        Self {
            requests: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            moved: counter!(MOVED, "pool" => pool.clone()),
            pool,
        }
    }

    pub(super) fn moved(&self) {
        self.moved.increment(1);
    }
}

impl Answers for Metrics {
    fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.requests[class].increment(1);
    }

    /// Rare enough to look the counter up.
    #[cold]
    fn refused(&self, why: &'static str) {
        counter!(REFUSALS, "pool" => self.pool.clone(), "reason" => why).increment(1);
    }
}
