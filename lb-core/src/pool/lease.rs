//! One request at one endpoint.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;

use crate::{
    endpoint::{Endpoint, Observation, Observer, Outcome},
    observe,
    pool::shadow::ShadowLease,
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
    shadow: Option<ShadowLease>,
}

impl Lease {
    #[inline]
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        observers: &Arc<Observers>,
        shadow: Option<ShadowLease>,
        now: Instant,
    ) -> Self {
        // Without an observer there is nothing to share, nor a counter to fight over.
        let observers = observers.any().then(|| Arc::clone(observers));
        Self {
            endpoint,
            started: now,
            recorded: false,
            observers,
            shadow,
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
        if let Some(shadow) = &mut self.shadow {
            shadow.record(outcome, latency, now);
        }
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
pub(crate) struct Observers {
    all: ArcSwap<Vec<Arc<dyn Observer>>>,
    any: AtomicBool,
}

impl Observers {
    pub(crate) fn add(&self, observer: &Arc<dyn Observer>) {
        self.all.rcu(|before| {
            let mut all = Vec::clone(before);
            all.push(Arc::clone(observer));
            all
        });
        self.any.store(true, Ordering::Relaxed);
    }

    /// Takes it out again; who is told at this moment still is.
    pub(crate) fn remove(&self, observer: &Arc<dyn Observer>) {
        self.all.rcu(|before| {
            let others = before.iter().filter(|other| !Arc::ptr_eq(other, observer));
            others.cloned().collect::<Vec<_>>()
        });
    }

    fn any(&self) -> bool {
        // Relaxed: who observes from now on may miss a request in motion.
        self.any.load(Ordering::Relaxed)
    }

    /// An observer that panics costs its own observation only.
    fn tell(&self, endpoint: &Endpoint, observation: &Observation) {
        for observer in self.all.load().iter() {
            let told = AssertUnwindSafe(|| observer.observed(endpoint, observation));
            if catch_unwind(told).is_err() {
                observe::observer_panicked(endpoint.id());
            }
        }
    }
}
