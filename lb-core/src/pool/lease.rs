//! One request at one endpoint.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::{
    breaker::{Slot, Trial},
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
    pub(super) endpoint: Arc<Endpoint>,
    started: Instant,
    recorded: bool,
    observers: Option<Arc<Observers>>,
    shadow: Option<ShadowLease>,
    /// Rare: only trials, and requests of an upstream with a limit, have one.
    held: Option<Box<Held>>,
}

/// What few requests hold.
#[derive(Default)]
pub(crate) struct Held {
    /// It is the one that tries an endpoint whose circuit was open.
    pub(crate) trial: Option<Trial>,
    /// Its place among the requests of the upstream.
    pub(crate) slot: Option<Slot>,
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
            held: None,
        }
    }

    /// Keeps `held` until the lease ends.
    pub(crate) fn hold(mut self, held: Held) -> Self {
        self.held = Some(Box::new(held));
        self
    }

    /// Keeps its place among the requests of the upstream until it ends.
    pub(crate) fn with_slot(mut self, slot: Slot) -> Self {
        self.held.get_or_insert_default().slot = Some(slot);
        self
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
        self.tell(outcome, None, now);
    }

    /// As [`record`](Self::record), for a refusal (503) that asks to be left alone for a
    /// while. A [breaker](crate::breaker) may follow that.
    pub fn record_refusal(&mut self, retry_after: Option<Duration>, now: Instant) {
        self.tell(Outcome::Overloaded, retry_after, now);
    }

    fn tell(&mut self, outcome: Outcome, retry_after: Option<Duration>, now: Instant) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        let latency = now.saturating_duration_since(self.started);
        self.endpoint.stats.observe(outcome, latency, now);
        if let Some(shadow) = &mut self.shadow {
            shadow.record(outcome, latency, now);
        }
        let observation = Observation {
            outcome,
            latency,
            now,
            retry_after,
        };
        if let Some(observers) = &self.observers {
            observers.tell(&self.endpoint, &observation);
        }
        if let Some(trial) = self.held.as_mut().and_then(|held| held.trial.take()) {
            trial.settle(&observation);
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
