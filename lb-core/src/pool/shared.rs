//! What all handles of a pool share, and how it changes.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;

use crate::{
    breaker::{Circuits, Gauges, Use},
    candidates::{Entry, Rules},
    clock,
    endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Fleet},
    error::{ConfigError, PickError},
    health::HealthChecks,
    observe,
    outlier::OutlierDetector,
    pick::PickCx,
    policy::PolicyConfig,
    pool::{
        Pool,
        current::{Current, Mark},
        known::Known,
        lease::Lease,
        members::Members,
        shadow::Shadow,
        snapshot::Snapshot,
        watch::Watcher,
    },
};

pub(crate) struct Shared {
    pub(super) name: String,
    pub(super) current: Current,
    /// Somebody wants to know the time of every pick.
    pub(super) timed: AtomicBool,
    pub(super) fleet: Arc<Fleet>,
    pub(super) gauges: Gauges,
    pub(super) circuits: Arc<Circuits>,
    /// Held while the next snapshot is built. Never on the request path.
    pub(super) change: Mutex<Change>,
    /// Parts of other modules that came with the builder, by type.
    pub(super) extras: http::Extensions,
    /// See [`settings`](Self::settings).
    pub(super) settings: Mutex<()>,
    /// Ends with the pool.
    pub(super) health: ArcSwapOption<HealthChecks>,
    /// Ends with the pool.
    pub(super) outlier: ArcSwapOption<OutlierDetector>,
    /// Ends with the pool.
    pub(super) watcher: OnceLock<Watcher>,
}

/// What only changes need.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) policy: PolicyConfig,
    pub(super) members: Members,
    pub(super) shadow: Option<Shadow>,
    pub(super) rules: Rules,
    /// Snapshots that threads may still keep. They are freed here, by a later
    /// change, and not by the request that lets the last one go.
    retired: Vec<Arc<Snapshot>>,
}

impl Change {
    pub(super) fn new(policy: PolicyConfig, members: Members, rules: Rules) -> Self {
        Self {
            policy,
            members,
            shadow: None,
            rules,
            retired: Vec::new(),
        }
    }
}

impl Shared {
    pub(super) fn change(&self) -> MutexGuard<'_, Change> {
        // A panic while building left the old snapshot in place: go on with it.
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while parts are switched on or off. Those change members themselves: it is
    /// another lock than theirs.
    pub(super) fn settings(&self) -> MutexGuard<'_, ()> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_endpoints(&self, specs: Vec<EndpointSpec>) -> Result<(), ConfigError> {
        let mut change = self.change();
        let leaving = change.members.replace(specs, &self.fleet, clock::now())?;
        self.rebuild(&mut change);
        // Not before the others are known: there is always somebody to go to.
        for endpoint in leaving {
            let removed = Cause::Removed.bit();
            endpoint.stats.set_causes(removed, true, clock::now());
        }
        Ok(())
    }

    /// A new snapshot of the members as they are now, with a new picker.
    pub(super) fn rebuild(&self, change: &mut Change) {
        let room = self.gauges.limits().requests_per_endpoint;
        let entry = |endpoint| entry(endpoint, room);
        let entries: Arc<[Entry]> = change.members.iter().map(entry).collect();
        let rules = change.rules;
        let shadow = change.shadow.as_mut();
        let shadow = shadow.map(|shadow| shadow.build(&entries, rules, clock::now()));
        let snapshot = Snapshot::build(entries, rules, &change.policy, shadow);
        self.install(change, snapshot);
    }

    /// The same members with their availability as it is now.
    pub(super) fn refresh(&self, change: &mut Change) {
        let refreshed = self.current.load().refreshed(clock::now());
        self.install(change, refreshed);
    }

    /// Whether the clock must be read for every pick.
    pub(super) fn find_out_if_timed(&self) {
        let snapshot = self.current.load();
        let slow_start = !snapshot.candidates.rules.slow_start.is_zero();
        let shadowed = snapshot.shadow.is_some();
        let timed = snapshot.timed || shadowed || slow_start || self.fleet.observers.any();
        // Relaxed: as `is_timed`.
        self.timed.store(timed, Ordering::Relaxed);
    }

    /// Whether somebody wants to know the time of this pick: the policy, an observer, slow
    /// start, or status, for which some are drawn by lot.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    #[inline]
    pub(super) fn is_timed(&self, random: u64) -> bool {
        // Relaxed: a pick that came before a change is not timed; it is not waited for.
        self.fleet.lots.draw(random) || self.timed.load(Ordering::Relaxed)
    }

    fn install(&self, change: &mut Change, snapshot: Snapshot) {
        let watched = snapshot.shadow.is_some();
        change.retired.push(self.current.install(snapshot));
        self.current.mark(Mark::Shadow, watched);
        self.current
            .mark(Mark::Limit, self.gauges.counts_requests());
        self.find_out_if_timed();
        change.retired.retain(|old| Arc::strong_count(old) > 1);
        // Who is told may panic: the snapshot comes first.
        observe::membership(&self.name, &self.current.load().candidates);
    }

    /// A pick with all that the quick way leaves out: trials, limits, a shadow, a
    /// snapshot that is new to this thread, and nobody who takes the request.
    #[cold]
    #[inline(never)]
    pub(super) fn pick_closely(&self, cx: &PickCx<'_>) -> Result<Lease, PickError> {
        if self.circuits.is_trial_due(cx.now())
            && let Some(lease) = self.trial(cx)
        {
            return self.admit(lease);
        }
        // Members that left in the meantime refuse: then those that came are asked.
        let lease = self.current.with_settled(|known| known.pick_closely(cx))?;
        self.admit(lease)
    }

    /// As [`pick_closely`](Self::pick_closely), for a request that is bound.
    #[cold]
    #[inline(never)]
    pub(super) fn pick_bound_closely(
        &self,
        id: &EndpointId,
        incarnation: Option<u64>,
        cx: &PickCx<'_>,
    ) -> Result<Lease, PickError> {
        let pick = |known: &Known| known.pick_bound(id, incarnation, cx);
        let picked = self.current.with(pick)?;
        self.admit(Lease::new(picked.into(), cx))
    }

    /// The one request that tries an endpoint whose circuit was open, if this may be it.
    fn trial(&self, cx: &PickCx<'_>) -> Option<Lease> {
        self.current.with(|known| {
            let snapshot = known.snapshot();
            let chosen = snapshot.trials(cx).find_map(|index| {
                let endpoint = &snapshot.candidates.entries[index].endpoint;
                let trial = self.circuits.trial(endpoint, cx.now())?;
                snapshot.enter_trial(index, cx).then_some((index, trial))
            });
            let Some((index, trial)) = chosen else {
                self.circuits.postpone(cx.now());
                return None;
            };
            Some(Lease::of_trial(known.picked(index, cx).into(), cx, trial))
        })
    }

    /// Counts the request among those of the upstream, if these have a limit.
    pub(super) fn admit(&self, lease: Lease) -> Result<Lease, PickError> {
        if !self.gauges.counts_requests() {
            return Ok(lease);
        }
        let slot = self.gauges.take(Use::Request, &lease.endpoint().stats);
        slot.map(|slot| lease.with_slot(slot))
            .ok_or(PickError::Full)
    }
}

fn entry(endpoint: &Arc<Endpoint>, room: u32) -> Entry {
    Entry {
        endpoint: Arc::clone(endpoint),
        stats: Arc::clone(&endpoint.stats),
        weight: endpoint.weight(),
        room,
    }
}

/// A handle that does not keep its pool alive.
#[derive(Clone)]
pub struct WeakPool(Weak<Shared>);

impl WeakPool {
    pub(crate) fn new(shared: &Weak<Shared>) -> Self {
        Self(Weak::clone(shared))
    }

    /// The pool, while somebody else keeps it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Pool> {
        self.0.upgrade().map(|shared| Pool { shared })
    }
}

impl fmt::Debug for WeakPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakPool")
    }
}
