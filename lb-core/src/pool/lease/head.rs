//! A request whose answer has begun, for the proxy, which sees the body end.

use std::time::Instant;

use super::Lease;
use crate::endpoint::{Observation, Outcome};

/// A lease whose good head is told: policies that time requests learned of it, observers
/// and breakers hear of it when the body has ended. An endpoint that breaks every answer
/// off must not look well in between.
///
/// Dropped before that, the client left: the head was good.
#[derive(Debug)]
pub(crate) struct HeadLease {
    lease: Lease,
    /// What is still to be told.
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    outcome: Outcome,
    came: Instant,
}

// === impl HeadLease ===

impl HeadLease {
    /// The head came at this time. Only the first word counts.
    pub(crate) fn new(mut lease: Lease, outcome: Outcome, came: Instant) -> Self {
        if !lease.counted.may_tell() {
            return Self::told(lease);
        }
        lease.answer();
        let head = Head { outcome, came };
        // As in `Lease::settle`: nobody else wants to know the time of this one.
        let is_news = lease.endpoint().stats.is_news(outcome);
        if lease.counted.is_timed() || lease.held.is_some() || is_news {
            let moment = lease.endpoint().stats.fleet().moment(came);
            if let Some(seconds) = lease.seconds_until(came, moment) {
                lease.endpoint().stats.learn(outcome, Some(seconds), moment);
                lease.teach_shadow(outcome, seconds, came);
            }
        }
        let head = Some(head);
        Self { lease, head }
    }

    /// All is told of it.
    pub(crate) fn told(lease: Lease) -> Self {
        Self { lease, head: None }
    }

    pub(crate) fn get(&self) -> &Lease {
        &self.lease
    }

    /// The endpoint broke the body off: what looked like a success was none.
    pub(crate) fn body_broke(&mut self, now: Instant) {
        if self.head.take().is_some() {
            self.lease.tell(Outcome::Failure, None, now);
        }
    }

    /// The body ended as it should.
    pub(crate) fn body_ended(&mut self, now: Instant) {
        if let Some(head) = self.head.take() {
            self.lease.announce(&head.observed(&self.lease, now));
        }
    }
}

impl Head {
    fn observed(self, lease: &Lease, now: Instant) -> Observation {
        Observation {
            outcome: self.outcome,
            latency: self.came.saturating_duration_since(lease.started()),
            now,
            retry_after: None,
        }
    }
}

impl Drop for HeadLease {
    #[inline]
    fn drop(&mut self) {
        if let Some(head) = self.head {
            self.body_ended(head.came);
        }
    }
}
