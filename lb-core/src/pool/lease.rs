//! One request at one endpoint.

#[cfg(feature = "affinity")]
mod ending;
#[cfg(feature = "proxy")]
mod head;

use std::{
    fmt,
    mem::{self, ManuallyDrop},
    ops::{Deref, DerefMut},
    time::{Duration, Instant},
};

use crate::{
    breaker::{Slot, Trial},
    endpoint::{Endpoint, Observation, Outcome, stamped::Moment},
    pick::{PickCx, Time},
    pool::{counted::Counted, shadow::ShadowLease},
    report::LoadReport,
};

#[cfg(feature = "affinity")]
pub(crate) use self::ending::Ending;
#[cfg(feature = "proxy")]
pub(crate) use self::head::HeadLease;

/// One request at the endpoint chosen for it. Dropping it is the only way to
/// stop counting, so that a cancelled future, an early return and a panic all
/// count correctly. Move it into the response body or the tunnel.
#[must_use = "the request stops counting when this is dropped"]
pub struct Lease {
    counted: Counted,
    /// A clock if nobody wanted to know when the request was picked.
    picked: Time,
    /// Rare: only trials, and requests of an upstream with a limit or of a pool with a
    /// shadow, have one.
    held: Rare,
}

/// Let go of in a function of its own: an end that most requests do not have.
#[derive(Default)]
struct Rare(ManuallyDrop<Option<Box<Held>>>);

/// What few requests hold.
#[derive(Default)]
pub(crate) struct Held {
    /// It is the one that tries an endpoint whose circuit was open.
    pub(crate) trial: Option<Trial>,
    /// Its place among the requests of the upstream.
    pub(crate) slot: Option<Slot>,
    /// The same request as the shadow policy sees it.
    pub(crate) shadow: Option<ShadowLease>,
}

impl Lease {
    #[inline]
    pub(crate) fn new(counted: Counted, cx: &PickCx<'_>) -> Self {
        Self {
            counted,
            picked: cx.time,
            held: Rare::default(),
        }
    }

    /// Tries an endpoint whose circuit was open.
    pub(crate) fn of_trial(counted: Counted, cx: &PickCx<'_>, trial: Trial) -> Self {
        let mut lease = Self::new(counted, cx);
        lease.picked = Time::At(cx.now());
        lease.counted.set_timed();
        lease.held.get_or_insert_default().trial = Some(trial);
        lease
    }

    /// Keeps its place among the requests of the upstream until it ends.
    pub(crate) fn with_slot(mut self, slot: Slot) -> Self {
        self.held.get_or_insert_default().slot = Some(slot);
        self
    }

    /// Tells a shadow policy what happens.
    #[cold]
    pub(crate) fn with_shadow(mut self, shadow: Option<ShadowLease>) -> Self {
        self.held.get_or_insert_default().shadow = shadow;
        self
    }

    /// Where the request goes.
    #[must_use]
    #[inline]
    pub fn endpoint(&self) -> &Endpoint {
        self.counted.endpoint()
    }

    /// What counts it.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// When it was picked, if that is known and nobody will want to know how long it took.
    pub(crate) fn untimed_since(&self) -> Option<Instant> {
        let known = !self.counted.is_timed() && self.is_start_known();
        known.then(|| self.started())
    }

    /// When it was picked.
    #[must_use]
    pub fn started(&self) -> Instant {
        match self.picked {
            Time::At(now) | Time::Exact(now, _) => now,
            Time::By(_) => unreachable!("invariant: picks without a time are Balance's own"),
        }
    }

    #[inline]
    fn is_start_known(&self) -> bool {
        !matches!(self.picked, Time::By(_))
    }

    /// Says how the request ended, for policies that learn. For streams that is
    /// the moment the response began. Only the first word counts; a lease
    /// dropped without one teaches nothing.
    pub fn record(&mut self, outcome: Outcome, now: Instant) {
        self.record_and(outcome, None, now);
    }

    /// As [`record`](Self::record), for a refusal (503) that asks to be left alone for a
    /// while. A [breaker](crate::breaker) may follow that.
    pub fn record_refusal(&mut self, retry_after: Option<Duration>, now: Instant) {
        self.record_and(Outcome::Overloaded, retry_after, now);
    }

    fn record_and(&mut self, outcome: Outcome, retry_after: Option<Duration>, now: Instant) {
        if self.counted.may_tell() {
            self.answer();
            self.tell(outcome, retry_after, now);
        }
    }

    /// As [`record`](Self::record), but reads the clock only if somebody wants
    /// to know the time: the policy, an observer, a shadow, whoever fails. Of
    /// other requests one in eight is timed, for status. A `Balance` times no more than
    /// teach anything: to an endpoint 8 that begin within 66 µs, and as many of the whole
    /// pool if the policy does not ask. With `streams` unset the answer has ended with its
    /// head, and this lease is dropped at once.
    #[inline]
    pub fn settle(&mut self, outcome: Outcome, streams: bool, clock: impl FnOnce() -> Instant) {
        if !self.counted.may_tell() {
            return;
        }
        let rare = self.held.is_some();
        if streams || rare {
            self.answer();
        }
        let stats = &self.endpoint().stats;
        if self.counted.is_timed() || rare || self.is_observed() || stats.is_news(outcome) {
            self.tell(outcome, None, clock());
        }
    }

    /// Takes in the load report that came with the response. Record the
    /// outcome first: work that this response accepted is in its report.
    pub fn report(&self, report: &LoadReport, now: Instant) {
        self.endpoint().stats.report(report, now);
    }

    fn answer(&mut self) {
        self.counted.answer();
        if let Some(shadow) = self.held.as_mut().and_then(|held| held.shadow.as_mut()) {
            shadow.answer();
        }
    }

    /// Whoever observes wants to know how long it took.
    #[inline]
    fn is_observed(&self) -> bool {
        self.is_start_known() && self.endpoint().stats.observers().any()
    }

    fn tell(&mut self, outcome: Outcome, retry_after: Option<Duration>, now: Instant) {
        let moment = self.endpoint().stats.fleet().moment(now);
        let Some(seconds) = self.seconds_until(now, moment) else {
            return self.endpoint().stats.learn(outcome, None, moment);
        };
        self.endpoint().stats.learn(outcome, Some(seconds), moment);
        if self.held.is_some() || self.is_observed() {
            self.tell_others(outcome, seconds, retry_after, now);
        }
    }

    /// A shadow, observers, the breaker.
    #[cold]
    #[inline(never)]
    fn tell_others(
        &mut self,
        outcome: Outcome,
        seconds: f64,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.teach_shadow(outcome, seconds, now);
        self.announce(&Observation {
            outcome,
            latency: now.saturating_duration_since(self.started()),
            now,
            retry_after,
        });
    }

    /// How long the request takes at this time, in both its forms.
    #[inline]
    fn seconds_until(&self, now: Instant, moment: Moment) -> Option<f64> {
        match self.picked {
            Time::Exact(_, started) => Some(moment.seconds_since(started)),
            Time::At(started) => Some(now.saturating_duration_since(started).as_secs_f64()),
            Time::By(_) => None,
        }
    }

    fn teach_shadow(&self, outcome: Outcome, seconds: f64, now: Instant) {
        if let Some(shadow) = self.held.as_ref().and_then(|held| held.shadow.as_ref()) {
            let moment = self.endpoint().stats.fleet().moment(now);
            shadow.learn(outcome, Some(seconds), moment);
        }
    }

    /// Observers, and the breaker if this was its trial.
    fn announce(&mut self, observation: &Observation) {
        if self.is_observed() {
            let endpoint = self.counted.endpoint();
            endpoint.stats.observers().tell(endpoint, observation);
        }
        if let Some(trial) = self.held.as_mut().and_then(|held| held.trial.take()) {
            trial.settle(observation);
        }
    }
}

// === impl Rare ===

impl Deref for Rare {
    type Target = Option<Box<Held>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Rare {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Rare {
    #[inline]
    fn drop(&mut self) {
        if self.is_some() {
            let_go(mem::take(&mut self.0));
        }
    }
}

#[cold]
#[inline(never)]
fn let_go(held: ManuallyDrop<Option<Box<Held>>>) {
    drop(ManuallyDrop::into_inner(held));
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("endpoint", self.endpoint().id())
            .finish_non_exhaustive()
    }
}
