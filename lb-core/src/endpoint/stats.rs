//! What is known of one endpoint by sending it requests.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    breaker::{Circuit, Users},
    endpoint::{
        Cause, Outcome,
        estimates::Estimates,
        fleet::{Fleet, remembered},
        observers::Observers,
        reading::{Reading, Shares, Words},
        stamped::{Moment, Stamped, Tick},
        timing::Quota,
        traffic::{Refused, Traffic},
    },
    report::LoadReport,
};

/// Counters and estimates of one endpoint. They live as long as the endpoint's
/// incarnation and survive every change of weight, zone, policy or membership.
///
/// The alignment keeps two endpoints off one pair of cache lines, and the order
/// keeps what a pick looks at in the first.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Stats {
    traffic: Traffic,
    /// Requests that are in flight although their answer began.
    answered: AtomicU32,
    /// When the endpoint last showed life, or work for it began.
    progress: AtomicU32,
    /// How many timed requests began in which tick.
    timing: Quota,
    estimates: Estimates,
    fleet: Arc<Fleet>,
    reading: Reading,
    accepted: Stamped,
    accepted_total: AtomicU64,
    failures_total: AtomicU64,
    available_since: AtomicU64,
    pub(crate) idle: Notify,
    /// Taken once per answer while a breaker is on.
    circuit: Mutex<Circuit>,
    pub(crate) users: Users,
}

impl Stats {
    pub(crate) fn new(causes: u32, now: Instant, fleet: &Arc<Fleet>) -> Self {
        let stats = Self {
            traffic: Traffic::new(causes),
            answered: AtomicU32::new(0),
            progress: AtomicU32::new(0),
            timing: Quota::default(),
            estimates: Estimates::default(),
            fleet: Arc::clone(fleet),
            reading: Reading::none(),
            accepted: Stamped::default(),
            accepted_total: AtomicU64::new(0),
            failures_total: AtomicU64::new(0),
            available_since: AtomicU64::new(0),
            idle: Notify::new(),
            circuit: Mutex::default(),
            users: Users::default(),
        };
        stats.available_from(now);
        stats
    }

    // === what is counted ===

    /// Requests in flight now.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.traffic.in_flight()
    }

    /// Requests in flight that still wait for the beginning of their answer.
    #[must_use]
    #[inline]
    pub fn waiting(&self) -> u32 {
        // Relaxed: a figure for choosing; it may be off by a request in motion.
        self.in_flight()
            .saturating_sub(self.answered.load(Ordering::Relaxed))
    }

    /// Requests ever sent there.
    #[must_use]
    pub fn picks_total(&self) -> u64 {
        self.traffic.picks()
    }

    /// Failures ever recorded.
    #[must_use]
    pub fn failures_total(&self) -> u64 {
        // Relaxed: a statistic.
        self.failures_total.load(Ordering::Relaxed)
    }

    /// Requests in flight, if another one may come in as far as one look can tell.
    #[inline]
    pub(crate) fn room_left(&self, mask: u32, limit: u32) -> Option<u32> {
        self.traffic.room_left(mask, limit)
    }

    /// Counts one more request; with `timed` it also notes when the first of
    /// several began to wait.
    #[inline]
    pub(crate) fn enter(&self, mask: u32, limit: u32, timed: Option<Moment>) -> bool {
        if let Some(now) = timed
            && self.waiting() == 0
        {
            self.progressed(now.tick());
        }
        match self.traffic.enter(mask, limit) {
            Ok(()) => true,
            Err(Refused { wake }) => {
                self.wake_if(wake);
                false
            }
        }
    }

    /// Whether a request that begins now is to be timed, or enough others are that began at
    /// the same time.
    #[inline]
    pub(crate) fn is_to_be_timed(&self, now: Moment) -> bool {
        self.timing.take(now.tick())
    }

    #[inline]
    pub(crate) fn leave(&self, answered: bool) {
        if answered {
            // Relaxed: as `waiting`.
            self.answered.fetch_sub(1, Ordering::Relaxed);
        }
        let wake = self.traffic.leave();
        self.wake_if(wake);
    }

    #[inline]
    fn wake_if(&self, wake: bool) {
        if wake {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        self.idle.notify_waiters();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.traffic.is_idle()
    }

    // === reasons against it ===

    /// The state of its circuit breaker.
    pub(crate) fn circuit(&self) -> MutexGuard<'_, Circuit> {
        // Written in one step: whole after any panic.
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn causes(&self) -> u32 {
        self.traffic.causes()
    }

    /// Whether this cause stands against the endpoint.
    #[must_use]
    pub fn has(&self, cause: Cause) -> bool {
        self.causes() & cause.bit() != 0
    }

    /// Sets or clears causes; `true` if that changed anything.
    pub(crate) fn set_causes(&self, bits: u32, on: bool, now: Instant) -> bool {
        let before = self.traffic.set(bits, on);
        let bits = bits & Cause::ALL_BITS;
        let after = if on { before | bits } else { before & !bits };
        if before != 0 && after == 0 {
            self.available_from(now);
        }
        before != after
    }

    fn available_from(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.fleet.start()).as_nanos() as u64;
        // Relaxed: one word, read as a hint by slow start.
        self.available_since.store(nanos, Ordering::Relaxed);
    }

    /// Since when the endpoint is available without interruption.
    #[must_use]
    pub fn available_since(&self) -> Instant {
        // Relaxed: as above.
        self.fleet.start() + Duration::from_nanos(self.available_since.load(Ordering::Relaxed))
    }

    // === what is observed ===

    /// The endpoint answered, or began to be waited for.
    #[inline]
    fn progressed(&self, tick: Tick) {
        // Relaxed: one word, read as a hint.
        self.progress.store(tick.0, Ordering::Relaxed);
    }

    /// One request's answer began: it is in flight from now on, but nobody waits for it.
    #[inline]
    pub(crate) fn answer(&self) {
        // Relaxed: as `waiting`.
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this outcome changes anything but response times.
    #[inline]
    pub(crate) fn is_news(&self, outcome: Outcome) -> bool {
        self.estimates.is_news(outcome)
    }

    /// Folds one outcome into what is known, and how long it took if that is known.
    pub(crate) fn learn(&self, outcome: Outcome, seconds: Option<f64>, now: Moment) {
        let tick = now.tick();
        if outcome == Outcome::Accepted {
            self.accept(tick);
        }
        if outcome.is_failure() {
            // Relaxed: a statistic.
            self.failures_total.fetch_add(1, Ordering::Relaxed);
        }
        if outcome != Outcome::Cancelled {
            self.progressed(tick);
        }
        self.estimates.learn(outcome, seconds, tick, &self.fleet);
    }

    /// Response time in seconds as a peak-sensitive average, faded by the time
    /// since the last answer; `None` before the first.
    #[must_use]
    pub fn peak_latency_seconds(&self, now: Instant) -> Option<f64> {
        self.peak_at(self.fleet.moment(now))
    }

    #[inline]
    pub(crate) fn peak_at(&self, now: Moment) -> Option<f64> {
        self.estimates.peak_seconds(now.tick(), &self.fleet)
    }

    /// Expected response time in seconds: the own mean, drawn towards the
    /// fleet's the less is known of this one. `None` while nothing is known.
    #[must_use]
    pub fn expected_latency_seconds(&self, now: Instant) -> Option<f64> {
        self.expected_at(self.fleet.moment(now))
    }

    #[inline]
    pub(crate) fn expected_at(&self, now: Moment) -> Option<f64> {
        self.estimates.expected_seconds(now.tick(), &self.fleet)
    }

    /// How long requests have been waiting here without any sign of life: a
    /// hung endpoint shows it though it never answers. Zero while none waits.
    #[must_use]
    pub fn silence_seconds(&self, now: Instant) -> f64 {
        self.silence_at(self.fleet.moment(now))
    }

    #[inline]
    pub(crate) fn silence_at(&self, now: Moment) -> f64 {
        if self.waiting() == 0 {
            return 0.0;
        }
        // Relaxed: as `progressed`.
        now.tick()
            .seconds_since(Tick(self.progress.load(Ordering::Relaxed)))
    }

    /// Recent share of failures, `0.0..=1.0`, faded by time.
    #[must_use]
    pub fn failure_share(&self, now: Instant) -> f64 {
        self.estimates.failure_share(self.fleet.moment(now).tick())
    }

    /// What recent failures multiply a score by; 1 for a well endpoint.
    #[must_use]
    #[inline]
    pub fn failure_factor(&self, now: Instant) -> f64 {
        self.estimates
            .failure_factor(|| self.fleet.moment(now).tick())
    }

    /// The same, less the 1 of a well endpoint.
    #[inline]
    pub(crate) fn failure_penalty(&self, now: impl FnOnce() -> Instant) -> f64 {
        self.estimates
            .failure_penalty(|| self.fleet.moment(now()).tick())
    }

    #[inline]
    pub(crate) fn failure_factor_at(&self, now: Moment) -> f64 {
        self.estimates.failure_factor(|| now.tick())
    }

    // === work that outlives its request ===

    fn accept(&self, tick: Tick) {
        // Relaxed: a statistic that a later report is set against.
        self.accepted_total.fetch_add(1, Ordering::Relaxed);
        self.accepted
            .update(tick, |old| remembered(old, tick) + 1.0);
        self.fleet.accept(tick);
    }

    /// Takes in the load report in these words, read by `read` unless it is the last one
    /// once more. `since` is now, or not much earlier.
    pub(crate) fn report_words<E>(
        &self,
        words: &[u8],
        since: Instant,
        clock: impl FnOnce() -> Instant,
        read: impl FnOnce() -> Result<LoadReport, E>,
    ) -> Result<(), E> {
        let words = Words::of(words);
        if self.reading.is_repeated(words, self.fleet.moment(since)) {
            return Ok(());
        }
        self.report(&read()?, clock());
        self.reading.keep_words(words);
        Ok(())
    }

    /// Takes in a load report.
    pub(crate) fn report(&self, report: &LoadReport, now: Instant) {
        let now = self.fleet.moment(now);
        let (shares, work) = self.reading.take(report, now, self.own_work());
        for (resource, share) in shares.into_iter().enumerate() {
            if let Some(share) = share {
                self.fleet.observe_pressure(resource, share, now.tick());
            }
        }
        if let Some(work) = work {
            self.fleet.observe_active_work(work, now.tick());
        }
    }

    /// What was sent there from here: requests in flight, and work ever accepted.
    #[inline]
    fn own_work(&self) -> (u32, u64) {
        // Relaxed: a statistic.
        let accepted = self.accepted_total.load(Ordering::Relaxed);
        (self.in_flight(), accepted)
    }

    /// The last report, while it is fresh enough to be believed.
    #[must_use]
    pub fn load_report(&self, now: Instant) -> Option<Arc<LoadReport>> {
        self.reading.report(self.fleet.moment(now))
    }

    /// Reported shares of each resource, smoothed.
    #[inline]
    pub(crate) fn reported_shares(&self, now: Moment) -> Shares {
        self.reading.shares(now)
    }

    /// Reported work, smoothed.
    #[inline]
    pub(crate) fn reported_work(&self, now: Moment) -> Option<f64> {
        self.reading.smooth_work(now)
    }

    /// Units of work here now, whoever sent them: what was reported, corrected
    /// by what was sent since; never less than what is in flight from here.
    #[must_use]
    pub fn work(&self, now: Instant) -> f64 {
        self.work_at(self.fleet.moment(now))
    }

    #[inline]
    pub(crate) fn work_at(&self, now: Moment) -> f64 {
        let in_flight = f64::from(self.in_flight());
        let known = self.reading.work(now, || self.own_work());
        let work = known.unwrap_or_else(|| {
            let accepted = remembered(self.accepted.get(), now.tick());
            self.fleet.active_work().max(accepted) + in_flight
        });
        work.max(in_flight)
    }

    #[inline]
    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    #[inline]
    pub(crate) fn observers(&self) -> &Observers {
        &self.fleet.observers
    }
}
