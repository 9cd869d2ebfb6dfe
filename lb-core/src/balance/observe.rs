//! What balanced services count. Handles are made with a pool's first service: install
//! the recorder before that.

use metrics::{Counter, counter, describe_counter};

use crate::observe::Answers;

const MOVED: &str = "lb_balance_moved_total";

/// Registers the help texts.
pub(crate) fn describe() {
    describe_counter!(MOVED, "Requests that left an endpoint that was not ready");
}

/// The counters of one balanced service.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) answers: Answers,
    moved: Counter,
}

impl Metrics {
    pub(super) fn new(pool: &str) -> Self {
        Self {
            answers: Answers::new(pool),
            moved: counter!(MOVED, "pool" => pool.to_owned()),
        }
    }

    pub(super) fn moved(&self) {
        self.moved.increment(1);
    }
}
