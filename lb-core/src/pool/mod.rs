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
mod counted;
mod current;
mod discover;
mod drain;
mod explain;
mod known;
mod lease;
mod members;
mod settings;
mod shadow;
mod shared;
mod snapshot;
mod status;
mod watch;

use std::{fmt, sync::Arc, time::Instant};

use crate::{
    breaker::{Slot, Use},
    clock,
    endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Observer, Stats},
    error::{ConfigError, PickError},
    health::HealthChecks,
    outlier::OutlierDetector,
    pick::PickCx,
    policy::{Policy, PolicyConfig},
    pool::{current::Mark, shadow::Shadow, shared::Shared},
    report::LoadReport,
};

pub(crate) use self::counted::Picked;
#[cfg(feature = "proxy")]
pub(crate) use self::lease::HeadLease;
pub use self::{
    builder::PoolBuilder,
    drain::Drained,
    explain::{Exclusion, Explanation, Opinion},
    lease::Lease,
    shadow::{ShadowReport, ShadowShare},
    shared::WeakPool,
    status::{EndpointStatus, PoolStatus, State},
};
#[cfg(feature = "affinity")]
pub(crate) use self::{counted::Counted, lease::Ending};

/// Endpoints, a policy, and the counters that both share. Cheap to clone; all
/// clones are one pool.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
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
    // In line the time of the pick would be taken apart, see `Time`.
    #[inline(never)]
    pub fn pick(&self, cx: &PickCx<'_>) -> Result<Lease, PickError> {
        match self.pick_quickly(cx) {
            Some(picked) => Ok(Lease::new(picked.into(), cx)),
            None => self.shared.pick_closely(cx),
        }
    }

    /// The way of most picks; `None` leaves everything to [`pick`](Self::pick).
    #[inline]
    pub(crate) fn pick_quickly(&self, cx: &PickCx<'_>) -> Option<Picked> {
        self.shared.current.pick(cx)
    }

    /// A pick now: the clock is read if somebody wants to know the time of it.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    #[inline]
    pub(crate) fn cx_now(&self) -> PickCx<'static> {
        let random = fastrand::u64(..);
        if !self.shared.is_timed(random) {
            return PickCx::untimed(clock::now, random);
        }
        let now = clock::now();
        let fleet = &self.shared.fleet;
        let moment = fleet.moment(now);
        fleet.lots.begin(moment.tick());
        PickCx::exact(now, moment, random)
    }

    /// From now on, unless somebody was first: who counts what the endpoints answer.
    #[cfg(feature = "affinity")]
    pub(crate) fn count_answers(&self, answers: crate::observe::Answers) {
        self.shared.fleet.answers.get_or_init(|| answers);
    }

    /// Some circuit waits for a request that tries it, or none does any more.
    pub(crate) fn expect_trials(&self, waiting: bool) {
        self.shared.current.mark(Mark::Trial, waiting);
    }

    /// The endpoint that this request is bound to, by affinity. Draining ones
    /// honour their bindings; those that are down, full or of another
    /// incarnation (if one is named) do not.
    ///
    /// # Errors
    ///
    /// [`PickError::Unknown`] if it is no member (of that incarnation),
    /// [`PickError::NoneAvailable`] if it cannot take the request.
    #[inline]
    pub fn pick_bound(
        &self,
        id: &EndpointId,
        incarnation: Option<u64>,
        cx: &PickCx<'_>,
    ) -> Result<Lease, PickError> {
        match self.pick_bound_quickly(id, incarnation, cx) {
            Some(picked) => Ok(Lease::new(picked.into(), cx)),
            None => self.shared.pick_bound_closely(id, incarnation, cx),
        }
    }

    /// The way of most bound requests; `None` leaves everything to
    /// [`pick_bound`](Self::pick_bound).
    #[inline]
    pub(crate) fn pick_bound_quickly(
        &self,
        id: &EndpointId,
        incarnation: Option<u64>,
        cx: &PickCx<'_>,
    ) -> Option<Picked> {
        self.shared.current.pick_bound(id, incarnation, cx)
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

    /// Runs a second policy on the live traffic from now on; it decides nothing,
    /// and costs a second pick and one allocation per request, two through a `Balance`.
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
        change.shadow = policy.map(|policy| Shadow::new(policy, &self.shared.fleet));
        self.shared.rebuild(&mut change);
        Ok(())
    }

    /// How the shadow policy would have shared the traffic since it was set;
    /// `None` without one.
    #[must_use]
    pub fn shadow_report(&self) -> Option<ShadowReport> {
        self.shared.change().shadow.as_ref().map(Shadow::report)
    }

    /// A place at this endpoint for the time of its use; `None` if there is none left.
    #[cfg_attr(
        not(feature = "proxy"),
        allow(dead_code, reason = "the proxy has such uses")
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
        let mut change = self.shared.change();
        let Some(endpoint) = change.members.get(id) else {
            return false;
        };
        let bits = cause.bit() & !Cause::Removed.bit();
        if endpoint.stats.set_causes(bits, on, clock::now()) {
            self.shared.refresh(&mut change);
        }
        true
    }

    /// [`Self::mark`] for one life of an endpoint, `false` if it is no member any more:
    /// whoever has its name by then is left alone.
    pub(crate) fn mark_life(
        &self,
        id: &EndpointId,
        life: &Arc<Stats>,
        cause: Cause,
        on: bool,
    ) -> bool {
        let mut change = self.shared.change();
        let now_is = change.members.get(id);
        let is_member = now_is.is_some_and(|it| Arc::ptr_eq(&it.stats, life));
        if life.set_causes(cause.bit(), on, clock::now()) && is_member {
            self.shared.refresh(&mut change);
        }
        is_member
    }

    /// Takes in a load report of an endpoint, polled or pushed; `false` if the
    /// endpoint is unknown. Reports that came with a response go through
    /// [`Lease::report`].
    #[expect(
        clippy::must_use_candidate,
        reason = "a change; the answer is a courtesy"
    )]
    pub fn report(&self, id: &EndpointId, report: &LoadReport, now: Instant) -> bool {
        let snapshot = self.shared.current.load();
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
            .current
            .load()
            .entry(id)
            .map(|entry| Arc::clone(&entry.endpoint))
    }

    /// All members, ordered by name.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let snapshot = self.shared.current.load();
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
        explain::of(&self.shared.current.load(), cx)
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
        WeakPool::new(&Arc::downgrade(&self.shared))
    }

    /// Tells `observer` every recorded outcome from now on.
    pub fn observe(&self, observer: impl Observer) {
        self.add_observer(&(Arc::new(observer) as Arc<dyn Observer>));
    }

    pub(crate) fn add_observer(&self, observer: &Arc<dyn Observer>) {
        self.shared.fleet.observers.add(observer);
        self.shared.find_out_if_timed();
    }

    pub(crate) fn remove_observer(&self, observer: &Arc<dyn Observer>) {
        self.shared.fleet.observers.remove(observer);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.shared.current.load();
        f.debug_struct("Pool")
            .field("name", &self.shared.name)
            .field("endpoints", &snapshot.candidates.len())
            .field("available", &snapshot.candidates.available().len())
            .finish_non_exhaustive()
    }
}
