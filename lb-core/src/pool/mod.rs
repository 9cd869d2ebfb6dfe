//! The pool: members, policy, and the pick.
//!
//! A [`Pool`] is a cheap handle. [`Pool::pick`] loads the current snapshot (an
//! immutable list of endpoints with the picker built for them), asks the
//! picker, and counts the request until the returned [`Lease`] is dropped. No
//! lock, no allocation, no clock. Changes of members, weights, policy or
//! availability build the next snapshot beside it and swap it in.
//!
//! Edge cases, all tested:
//! * no endpoint, all weights zero, or nobody available: a [`PickError`];
//! * one name twice in a set: the highest incarnation counts, of equals the last;
//! * a member that leaves keeps its running requests, and finds its counters
//!   again if it comes back while some run;
//! * a request never enters an endpoint after a drain found it idle.
//!
//! ```
//! use lb_core::{EndpointId, PickCx, Pool};
//!
//! # let now = std::time::Instant::now();
//! let pool = Pool::builder("simulation")
//!     .endpoints(["http://10.0.0.1:8000", "http://10.0.0.2:8000"])
//!     .build()?;
//! let lease = pool.pick(&PickCx::new(now, 7))?;
//! assert_eq!(lease.endpoint().stats().in_flight(), 1);
//! drop(lease);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod discover;
mod drain;
mod explain;
mod lease;
mod members;
mod shadow;
mod snapshot;
mod status;
mod watch;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Instant,
};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::{
    breaker::{CircuitBreaker, Circuits, Gauges, Slot, UpstreamLimits, Use},
    candidates::{Entry, Rules},
    clock,
    endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Fleet, Observer},
    error::{ConfigError, PickError},
    health::{HealthCheck, HealthChecks},
    observe,
    outlier::{OutlierDetection, OutlierDetector},
    pick::PickCx,
    policy::{Policy, PolicyConfig},
    pool::{
        lease::{Held, Observers},
        members::Members,
        shadow::Shadow,
        snapshot::Snapshot,
        watch::Watcher,
    },
    report::LoadReport,
};

pub use self::{
    builder::PoolBuilder,
    drain::Drained,
    explain::{Exclusion, Explanation, Opinion},
    lease::Lease,
    shadow::{ShadowReport, ShadowShare},
    status::{EndpointStatus, PoolStatus, State},
};

/// Endpoints, a policy, and the counters that both share. Cheap to clone; all
/// clones are one pool.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    name: String,
    snapshot: ArcSwap<Snapshot>,
    observers: Arc<Observers>,
    fleet: Arc<Fleet>,
    rules: Rules,
    gauges: Gauges,
    circuits: Arc<Circuits>,
    /// Held while the next snapshot is built. Never on the request path.
    change: Mutex<Change>,
    /// Parts of other modules that came with the builder, by type.
    extras: http::Extensions,
    settings: Mutex<()>,
    /// Ends with the pool.
    health: ArcSwapOption<HealthChecks>,
    /// Ends with the pool.
    outlier: ArcSwapOption<OutlierDetector>,
    /// Ends with the pool.
    watcher: OnceLock<Watcher>,
}

/// What only changes need.
#[derive(Debug, Default)]
struct Change {
    policy: PolicyConfig,
    members: Members,
    shadow: Option<Shadow>,
}

impl Pool {
    /// A pool under construction. `name` shows in status and metrics.
    pub fn builder(name: impl Into<String>) -> PoolBuilder {
        PoolBuilder::new(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Chooses an endpoint and counts the request there until the lease ends.
    ///
    /// # Errors
    ///
    /// [`PickError`] if no endpoint can take this request.
    #[inline]
    pub fn pick(&self, cx: &PickCx<'_>) -> Result<Lease, PickError> {
        let snapshot = self.shared.snapshot.load();
        if self.shared.circuits.is_trial_due(cx.now)
            && let Some(lease) = self.shared.trial(&snapshot, cx)
        {
            return self.shared.admit(lease);
        }
        match snapshot.pick(cx) {
            Some(index) => {
                let shadow = snapshot
                    .shadow
                    .as_ref()
                    .and_then(|shadow| shadow.pick(cx, index));
                let endpoint = Arc::clone(&snapshot.candidates.entries[index].endpoint);
                let lease = Lease::new(endpoint, &self.shared.observers, shadow, cx.now);
                self.shared.admit(lease)
            }
            None => Err(no_endpoint(snapshot.candidates.len())),
        }
    }

    /// The endpoint that this request is bound to, by affinity. Draining ones
    /// honour their bindings; those that are down, full or of another
    /// incarnation (if one is named) do not.
    ///
    /// # Errors
    ///
    /// [`PickError::Unknown`] if it is no member (of that incarnation),
    /// [`PickError::NoneAvailable`] if it cannot take the request.
    pub fn pick_bound(
        &self,
        id: &EndpointId,
        incarnation: Option<u64>,
        cx: &PickCx<'_>,
    ) -> Result<Lease, PickError> {
        let snapshot = self.shared.snapshot.load();
        let entry = snapshot.entry(id).ok_or(PickError::Unknown)?;
        if incarnation.is_some_and(|wanted| wanted != entry.endpoint.incarnation()) {
            return Err(PickError::Unknown);
        }
        let tried = cx.tried.contains(id);
        if tried
            || !entry
                .stats
                .enter(!Cause::Draining.bit(), entry.room, Some(cx.now))
        {
            return Err(PickError::NoneAvailable {
                known: snapshot.candidates.len(),
            });
        }
        self.shared.admit(Lease::new(
            Arc::clone(&entry.endpoint),
            &self.shared.observers,
            None,
            cx.now,
        ))
    }

    /// Replaces the whole set of endpoints. Statistics of those that stay (same
    /// name, incarnation and address) survive.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Uri`] if one address cannot be used; nothing changes then.
    pub fn set_endpoints<I>(&self, specs: I) -> Result<(), ConfigError>
    where
        I: IntoIterator,
        I::Item: Into<EndpointSpec>,
    {
        self.shared
            .set_endpoints(specs.into_iter().map(Into::into).collect())
    }

    /// Replaces the policy. Requests in flight and statistics stay.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the policy's settings cannot work; nothing changes then.
    pub fn set_policy(&self, policy: impl Into<PolicyConfig>) -> Result<(), ConfigError> {
        let policy = policy.into();
        policy.check()?;
        let mut change = self.shared.change();
        change.policy = policy;
        self.shared.rebuild(&mut change);
        Ok(())
    }

    /// The policy as it is configured now.
    #[must_use]
    pub fn policy(&self) -> PolicyConfig {
        self.shared.change().policy.clone()
    }

    /// Runs a second policy on the live traffic from now on; it decides nothing.
    /// `None` ends it. See [`shadow_report`](Self::shadow_report).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the policy's settings cannot work; nothing changes then.
    pub fn set_shadow(&self, policy: Option<PolicyConfig>) -> Result<(), ConfigError> {
        if let Some(policy) = &policy {
            policy.check()?;
        }
        let mut change = self.shared.change();
        change.shadow = policy.map(|policy| Shadow::new(policy, clock::now(), &self.shared.fleet));
        self.shared.rebuild(&mut change);
        Ok(())
    }

    /// How the shadow policy would have shared the traffic since it was set;
    /// `None` without one.
    #[must_use]
    pub fn shadow_report(&self) -> Option<ShadowReport> {
        self.shared.change().shadow.as_ref().map(Shadow::report)
    }

    /// Probes with this check from now on; `None` ends the probes and takes their
    /// verdicts back.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work, or outside of a tokio runtime; nothing
    /// changes then.
    pub fn set_health(&self, check: Option<HealthCheck>) -> Result<(), ConfigError> {
        let _change = self.shared.settings();
        match (check, self.health()) {
            (Some(check), Some(running)) => running.set(check)?,
            (Some(check), None) => self.shared.health.store(Some(Arc::new(check.start(self)?))),
            (None, _) => self.shared.health.store(None),
        }
        Ok(())
    }

    /// Ejects outliers by these rules from now on; `None` ends that and lets all back.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work, or outside of a tokio runtime; nothing
    /// changes then.
    pub fn set_outlier(&self, detection: Option<OutlierDetection>) -> Result<(), ConfigError> {
        let _change = self.shared.settings();
        match (detection, self.outlier()) {
            (Some(detection), Some(running)) => running.set(detection)?,
            (Some(detection), None) => {
                let detector = detection.start(self)?;
                self.shared.outlier.store(Some(Arc::new(detector)));
            }
            (None, _) => self.shared.outlier.store(None),
        }
        Ok(())
    }

    /// Switches the circuit breaker on, over, or off (`None`: every circuit closes).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work, or outside of a tokio runtime; nothing
    /// changes then.
    pub fn set_breaker(&self, breaker: Option<CircuitBreaker>) -> Result<(), ConfigError> {
        self.shared.circuits.set(self, breaker)
    }

    /// The circuit breaker's settings, while it is on.
    #[must_use]
    pub fn breaker(&self) -> Option<CircuitBreaker> {
        self.shared.circuits.config()
    }

    /// How much the upstream and each endpoint take from now on; requests that are in
    /// flight stay, and those of an upstream without a limit before are not counted.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] if a limit is zero; nothing changes then.
    pub fn set_limits(&self, limits: UpstreamLimits) -> Result<(), ConfigError> {
        limits.check()?;
        let mut change = self.shared.change();
        self.shared.gauges.set(limits);
        self.shared.rebuild(&mut change);
        Ok(())
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> UpstreamLimits {
        self.shared.gauges.limits()
    }

    /// A place at this endpoint for the time of its use; `None` if there is none left.
    #[cfg_attr(
        not(feature = "affinity"),
        expect(dead_code, reason = "features bring uses")
    )]
    pub(crate) fn take_slot(&self, of: Use, endpoint: &Endpoint) -> Option<Slot> {
        self.shared.gauges.take(of, &endpoint.stats)
    }

    /// Changes one weight until the next [`set_endpoints`](Self::set_endpoints)
    /// says otherwise; `false` if the endpoint is unknown.
    #[expect(
        clippy::must_use_candidate,
        reason = "a change; the answer is a courtesy"
    )]
    pub fn set_weight(&self, id: &EndpointId, weight: u32) -> bool {
        let mut change = self.shared.change();
        let known = change.members.set_weight(id, weight);
        if known {
            self.shared.rebuild(&mut change);
        }
        known
    }

    /// Starts or ends draining; `false` if the endpoint is unknown.
    #[expect(
        clippy::must_use_candidate,
        reason = "a change; the answer is a courtesy"
    )]
    pub fn set_draining(&self, id: &EndpointId, draining: bool) -> bool {
        self.mark(id, Cause::Draining, draining)
    }

    /// Sets or clears one reason against an endpoint; `false` if it is unknown.
    ///
    /// [`Cause::Removed`] belongs to the pool itself: it is left as it is.
    #[expect(
        clippy::must_use_candidate,
        reason = "a change; the answer is a courtesy"
    )]
    pub fn mark(&self, id: &EndpointId, cause: Cause, on: bool) -> bool {
        let change = self.shared.change();
        let Some(endpoint) = change.members.get(id) else {
            return false;
        };
        let bits = cause.bit() & !Cause::Removed.bit();
        if endpoint.stats.set_causes(bits, on, clock::now()) {
            self.shared.refresh();
        }
        true
    }

    /// Takes in a load report of an endpoint, polled or pushed; `false` if the
    /// endpoint is unknown. Reports that came with a response go through
    /// [`Lease::report`].
    #[expect(
        clippy::must_use_candidate,
        reason = "a change; the answer is a courtesy"
    )]
    pub fn report(&self, id: &EndpointId, report: &LoadReport, now: Instant) -> bool {
        let snapshot = self.shared.snapshot.load();
        let Some(entry) = snapshot.entry(id) else {
            return false;
        };
        entry.stats.report(report, now);
        true
    }

    /// Stops new requests to an endpoint; the future is ready when nothing is
    /// in flight there (at once if it is unknown). It needs not be polled to
    /// take effect, and dropping it leaves the endpoint draining.
    pub fn drain(&self, id: &EndpointId) -> Drained {
        self.set_draining(id, true);
        let change = self.shared.change();
        Drained::new(change.members.running(id))
    }

    /// The endpoint of that name, if it is a member.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.shared
            .snapshot
            .load()
            .entry(id)
            .map(|entry| Arc::clone(&entry.endpoint))
    }

    /// All members, ordered by name.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let snapshot = self.shared.snapshot.load();
        snapshot
            .candidates
            .entries
            .iter()
            .map(|entry| Arc::clone(&entry.endpoint))
            .collect()
    }

    /// Members, counters and reasons, as of now.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        status::of(self)
    }

    /// Who would be picked for this request and why, without moving a counter.
    #[must_use]
    pub fn explain(&self, cx: &PickCx<'_>) -> Explanation {
        explain::of(&self.shared.snapshot.load(), cx)
    }

    /// A part of another module that came with the builder.
    #[cfg_attr(
        not(feature = "affinity"),
        expect(dead_code, reason = "features bring parts")
    )]
    pub(crate) fn extra<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.shared.extras.get()
    }

    /// What the pool's own health check knows, if it was built with one.
    #[must_use]
    pub fn health(&self) -> Option<Arc<HealthChecks>> {
        self.shared.health.load_full()
    }

    /// What the pool's own outlier detection knows, if it was built with one.
    #[must_use]
    pub fn outlier(&self) -> Option<Arc<OutlierDetector>> {
        self.shared.outlier.load_full()
    }

    /// A handle that does not keep the pool alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakPool {
        WeakPool(Arc::downgrade(&self.shared))
    }

    /// Tells `observer` every recorded outcome from now on.
    pub fn observe(&self, observer: impl Observer) {
        self.add_observer(&(Arc::new(observer) as Arc<dyn Observer>));
    }

    pub(crate) fn add_observer(&self, observer: &Arc<dyn Observer>) {
        self.shared.observers.add(observer);
    }

    pub(crate) fn remove_observer(&self, observer: &Arc<dyn Observer>) {
        self.shared.observers.remove(observer);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.shared.snapshot.load();
        f.debug_struct("Pool")
            .field("name", &self.shared.name)
            .field("endpoints", &snapshot.candidates.len())
            .field("available", &snapshot.candidates.available().len())
            .finish_non_exhaustive()
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

impl Shared {
    fn change(&self) -> MutexGuard<'_, Change> {
        // A panic while building left the old snapshot in place: go on with it.
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while parts are switched on or off. Those change members themselves: it is
    /// another lock than theirs.
    fn settings(&self) -> MutexGuard<'_, ()> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_endpoints(&self, specs: Vec<EndpointSpec>) -> Result<(), ConfigError> {
        let mut change = self.change();
        change.members.replace(specs, &self.fleet, clock::now())?;
        self.rebuild(&mut change);
        Ok(())
    }

    /// A new snapshot of the members as they are now, with a new picker.
    fn rebuild(&self, change: &mut Change) {
        let entries: Arc<[Entry]> = change
            .members
            .iter()
            .map(|endpoint| self.entry(endpoint))
            .collect();
        let shadow = change.shadow.as_mut();
        let shadow = shadow.map(|shadow| shadow.build(&entries, self.rules, clock::now()));
        self.install(Snapshot::build(entries, self.rules, &change.policy, shadow));
    }

    /// The same members with their availability as it is now.
    fn refresh(&self) {
        let refreshed = self.snapshot.load().refreshed(clock::now());
        self.install(refreshed);
    }

    fn install(&self, snapshot: Snapshot) {
        observe::membership(&self.name, &snapshot.candidates);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The one request that tries an endpoint whose circuit was open, if this may be it.
    #[cold]
    fn trial(&self, snapshot: &Snapshot, cx: &PickCx<'_>) -> Option<Lease> {
        for index in snapshot.trials(cx) {
            let endpoint = &snapshot.candidates.entries[index].endpoint;
            let Some(trial) = self.circuits.trial(endpoint, cx.now) else {
                continue;
            };
            if snapshot.enter_trial(index, cx) {
                let lease = Lease::new(Arc::clone(endpoint), &self.observers, None, cx.now);
                let trial = Some(trial);
                return Some(lease.hold(Held { trial, slot: None }));
            }
        }
        self.circuits.postpone(cx.now);
        None
    }

    /// Counts the request among those of the upstream, if these have a limit.
    #[inline]
    fn admit(&self, lease: Lease) -> Result<Lease, PickError> {
        if !self.gauges.counts_requests() {
            return Ok(lease);
        }
        let slot = self.gauges.take(Use::Request, &lease.endpoint.stats);
        slot.map(|slot| lease.with_slot(slot))
            .ok_or(PickError::Full)
    }

    fn entry(&self, endpoint: &Arc<Endpoint>) -> Entry {
        Entry {
            endpoint: Arc::clone(endpoint),
            stats: Arc::clone(&endpoint.stats),
            weight: endpoint.weight(),
            room: self.gauges.limits().requests_per_endpoint,
        }
    }
}

#[cold]
fn no_endpoint(known: usize) -> PickError {
    if known == 0 {
        PickError::Empty
    } else {
        PickError::NoneAvailable { known }
    }
}

/// Used by tests and the serve floor: a pick at the crate's clock.
pub(crate) fn cx_now() -> (Instant, u64) {
    (clock::now(), fastrand::u64(..))
}
