//! One request at one endpoint.

use std::{fmt, sync::Arc, time::Instant};

use arc_swap::ArcSwap;

use crate::{
    endpoint::{Endpoint, Observation, Observer, Outcome},
    report::LoadReport,
};

/// One request at the endpoint chosen for it. Dropping it is the only way to
/// stop counting, so that a cancelled future, an early return and a panic all
/// count correctly. Move it into the response body or the tunnel.
#[must_use = "the request stops counting when this is dropped"]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    started: Instant,
    recorded: bool,
    observers: Option<Arc<Observers>>,
}

impl Lease {
    #[inline]
    pub(crate) fn new(endpoint: Arc<Endpoint>, observers: &Arc<Observers>, now: Instant) -> Self {
        // Without an observer there is nothing to share, nor a counter to fight over.
        let observers = observers.any().then(|| Arc::clone(observers));
        Self {
            endpoint,
            started: now,
            recorded: false,
            observers,
        }
    }

    /// Where the request goes.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// When it was picked.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Says how the request ended, for policies that learn. For streams that is
    /// the moment the response began. Only the first word counts; a lease
    /// dropped without one teaches nothing.
    pub fn record(&mut self, outcome: Outcome, now: Instant) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        let latency = now.saturating_duration_since(self.started);
        self.endpoint.stats.observe(outcome, latency, now);
        if let Some(observers) = &self.observers {
            observers.tell(
                &self.endpoint,
                &Observation {
                    outcome,
                    latency,
                    now,
                },
            );
        }
    }
}

impl Lease {
    /// Takes in the load report that came with the response. Record the
    /// outcome first: work that this response accepted is in its report.
    pub fn report(&self, report: &LoadReport, now: Instant) {
        self.endpoint.stats.report(report, now);
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.endpoint.stats.leave(self.recorded);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("endpoint", self.endpoint.id())
            .finish_non_exhaustive()
    }
}

/// Who is told outcomes.
#[derive(Default)]
pub(crate) struct Observers(ArcSwap<Vec<Arc<dyn Observer>>>);

impl Observers {
    pub(crate) fn add(&self, observer: &Arc<dyn Observer>) {
        self.0.rcu(|before| {
            let mut all = Vec::clone(before);
            all.push(Arc::clone(observer));
            all
        });
    }

    fn any(&self) -> bool {
        !self.0.load().is_empty()
    }

    fn tell(&self, endpoint: &Endpoint, observation: &Observation) {
        for observer in self.0.load().iter() {
            observer.observed(endpoint, observation);
        }
    }
}
