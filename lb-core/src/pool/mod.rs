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

use arc_swap::ArcSwap;

use crate::{
    candidates::{Entry, Rules},
    clock,
    endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Fleet, Observer},
    error::{ConfigError, PickError},
    health::HealthChecks,
    observe,
    outlier::OutlierDetector,
    pick::PickCx,
    policy::{Policy, PolicyConfig},
    pool::{
        lease::Observers, members::Members, shadow::Shadow, snapshot::Snapshot, watch::Watcher,
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
    room: u32,
    /// Held while the next snapshot is built. Never on the request path.
    change: Mutex<Change>,
    /// Parts of other modules that came with the builder, by type.
    extras: http::Extensions,
    /// Ends with the pool.
    health: OnceLock<HealthChecks>,
    /// Ends with the pool.
    outlier: OnceLock<OutlierDetector>,
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
        match snapshot.pick(cx) {
            Some(index) => {
                let shadow = snapshot
                    .shadow
                    .as_ref()
                    .and_then(|shadow| shadow.pick(cx, index));
                let endpoint = Arc::clone(&snapshot.candidates.entries[index].endpoint);
                Ok(Lease::new(endpoint, &self.shared.observers, shadow, cx.now))
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
        Ok(Lease::new(
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
    pub fn health(&self) -> Option<&HealthChecks> {
        self.shared.health.get()
    }

    /// What the pool's own outlier detection knows, if it was built with one.
    #[must_use]
    pub fn outlier(&self) -> Option<&OutlierDetector> {
        self.shared.outlier.get()
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

    fn entry(&self, endpoint: &Arc<Endpoint>) -> Entry {
        Entry {
            endpoint: Arc::clone(endpoint),
            stats: Arc::clone(&endpoint.stats),
            weight: endpoint.weight(),
            room: self.room,
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
