//! One request at one endpoint.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    breaker::{Slot, Trial},
    endpoint::{Endpoint, Observation, Outcome},
    pool::{known::Handle, shadow::ShadowLease},
    report::LoadReport,
};

/// One request at the endpoint chosen for it. Dropping it is the only way to
/// stop counting, so that a cancelled future, an early return and a panic all
/// count correctly. Move it into the response body or the tunnel.
#[must_use = "the request stops counting when this is dropped"]
pub struct Lease {
    endpoint: Handle,
    /// Unknown if nobody wanted to know when the request was picked.
    started: Option<Instant>,
    /// Response times are to be learned of this request.
    timed: bool,
    told: Told,
    /// Counted as answered, see [`Stats::waiting`](crate::endpoint::Stats::waiting).
    answered: bool,
    /// How long the head took, if that alone is told.
    #[cfg(feature = "proxy")]
    head_nanos: u64,
    /// Rare: only trials, and requests of an upstream with a limit or of a pool with a
    /// shadow, have one.
    held: Option<Box<Held>>,
}

/// What is known of how the request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// A good head came, and the body is still to come.
    #[cfg(feature = "proxy")]
    Head(Outcome),
    All,
}

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
    pub(crate) fn new(endpoint: Handle, timed: bool, started: Option<Instant>) -> Self {
        Self {
            endpoint,
            started,
            timed: timed && started.is_some(),
            told: Told::Nothing,
            answered: false,
            #[cfg(feature = "proxy")]
            head_nanos: 0,
            held: None,
        }
    }

    /// Tries an endpoint whose circuit was open.
    pub(crate) fn with_trial(mut self, trial: Trial) -> Self {
        self.held.get_or_insert_default().trial = Some(trial);
        self
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
        self.endpoint.get()
    }

    /// When it was picked, if that is known and nobody will want to know how long it took.
    pub(crate) fn untimed_since(&self) -> Option<Instant> {
        self.started.filter(|_| !self.timed)
    }

    /// When it was picked.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
            .expect("invariant: picks without a time are Balance's own")
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
        if self.may_tell() {
            self.answer();
            self.tell(outcome, retry_after, now);
        }
    }

    /// Only the first word counts.
    #[inline]
    fn may_tell(&mut self) -> bool {
        let first = self.told == Told::Nothing;
        if first {
            self.told = Told::All;
        }
        first
    }

    /// As [`record`](Self::record), but reads the clock only if somebody wants
    /// to know the time: the policy, an observer, a shadow, whoever fails. Of
    /// other requests one in eight is timed, for status. With `streams` unset
    /// the answer has ended with its head, and this lease is dropped at once.
    #[inline]
    pub fn settle(&mut self, outcome: Outcome, streams: bool, clock: impl FnOnce() -> Instant) {
        if !self.may_tell() {
            return;
        }
        let rare = self.held.is_some();
        if streams || rare {
            self.answer();
        }
        let stats = &self.endpoint().stats;
        if self.timed || rare || self.is_observed() || stats.is_news(outcome) {
            self.tell(outcome, None, clock());
        }
    }

    /// Takes in the load report that came with the response. Record the
    /// outcome first: work that this response accepted is in its report.
    pub fn report(&self, report: &LoadReport, now: Instant) {
        self.endpoint().stats.report(report, now);
    }

    fn answer(&mut self) {
        self.answered = true;
        self.endpoint().stats.answer();
        if let Some(shadow) = self.held.as_mut().and_then(|held| held.shadow.as_mut()) {
            shadow.answer();
        }
    }

    /// Whoever observes wants to know how long it took.
    #[inline]
    fn is_observed(&self) -> bool {
        self.started.is_some() && self.endpoint().stats.observers().any()
    }

    fn tell(&mut self, outcome: Outcome, retry_after: Option<Duration>, now: Instant) {
        let Some(started) = self.started else {
            return self.endpoint().stats.learn(outcome, None, now);
        };
        let latency = now.saturating_duration_since(started);
        let observation = Observation {
            outcome,
            latency,
            now,
            retry_after,
        };
        self.learn(&observation);
        if self.held.is_some() || self.is_observed() {
            self.announce(&observation);
        }
    }

    /// Counters and policies.
    fn learn(&self, observation: &Observation) {
        let (outcome, latency) = (observation.outcome, Some(observation.latency));
        self.endpoint()
            .stats
            .learn(outcome, latency, observation.now);
        if let Some(shadow) = self.held.as_ref().and_then(|held| held.shadow.as_ref()) {
            shadow.learn(outcome, latency, observation.now);
        }
    }

    /// Observers, and the breaker if this was its trial.
    fn announce(&mut self, observation: &Observation) {
        if self.is_observed() {
            let endpoint = self.endpoint.get();
            endpoint.stats.observers().tell(endpoint, observation);
        }
        if let Some(trial) = self.held.as_mut().and_then(|held| held.trial.take()) {
            trial.settle(observation);
        }
    }
}

/// An answer whose body is still to come, for the proxy, which sees it end.
#[cfg(feature = "proxy")]
impl Lease {
    /// As [`record`](Self::record), for a good head that came after `latency`: policies
    /// that time requests learn now, observers and breakers when the body has ended. An
    /// endpoint that breaks every answer off must not look well in between.
    pub(crate) fn record_head(&mut self, outcome: Outcome, latency: Duration, now: Instant) {
        if !self.may_tell() {
            return;
        }
        self.answer();
        // As in `settle`: nobody else wants to know the time of this one.
        if self.timed || self.held.is_some() || self.endpoint().stats.is_news(outcome) {
            self.learn(&Observation {
                outcome,
                latency,
                now,
                retry_after: None,
            });
        }
        self.told = Told::Head(outcome);
        self.head_nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
    }

    /// The endpoint broke the body off: what looked like a success was none.
    pub(crate) fn body_broke(&mut self, now: Instant) {
        if let Told::Head(_) = self.told {
            self.told = Told::All;
            self.tell(Outcome::Failure, None, now);
        }
    }

    /// The body ended as it should.
    pub(crate) fn body_ended(&mut self, now: Instant) {
        if let Told::Head(outcome) = self.told {
            self.told = Told::All;
            self.announce(&Observation {
                outcome,
                latency: Duration::from_nanos(self.head_nanos),
                now,
                retry_after: None,
            });
        }
    }

    /// The client left before the body ended: the head was good.
    #[cold]
    #[inline(never)]
    fn left(&mut self) {
        self.body_ended(self.started() + Duration::from_nanos(self.head_nanos));
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        #[cfg(feature = "proxy")]
        if let Told::Head(_) = self.told {
            self.left();
        }
        self.endpoint().stats.leave(self.answered);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("endpoint", self.endpoint().id())
            .finish_non_exhaustive()
    }
}
