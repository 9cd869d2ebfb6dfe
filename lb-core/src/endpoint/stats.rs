//! What is known of one endpoint by sending it requests.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::{
    breaker::{Circuit, Users},
    endpoint::{
        Cause, Outcome, failure,
        fleet::{Fleet, remembered},
        peak_ewma::{keep, mix},
        reading::Reading,
        stamped::{Stamped, Tick},
        traffic::{Refused, Traffic},
    },
    report::LoadReport,
};

/// Reports older than this are not believed any more.
pub(crate) const REPORT_EXPIRY: Duration = Duration::from_secs(60);

/// The less is known of an endpoint, the more it looks like this part of the
/// fleet's average: better than average, or one once slow would never be tried
/// again by a policy that takes the best.
const CURIOSITY: f64 = 0.8;

/// Counters and estimates of one endpoint. They live as long as the endpoint's
/// incarnation and survive every change of weight, zone, policy or membership.
///
/// The alignment keeps two endpoints off one pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct Stats {
    traffic: Traffic,
    /// Requests that are in flight although their answer began.
    answered: AtomicU32,
    /// When the endpoint last showed life, or work for it began.
    progress: AtomicU32,
    peak: Stamped,
    mean: Stamped,
    samples: Stamped,
    failures: Stamped,
    accepted: Stamped,
    accepted_total: AtomicU64,
    failures_total: AtomicU64,
    available_since: AtomicU64,
    reading: ArcSwapOption<Reading>,
    fleet: Arc<Fleet>,
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
            peak: Stamped::default(),
            mean: Stamped::default(),
            samples: Stamped::default(),
            failures: Stamped::default(),
            accepted: Stamped::default(),
            accepted_total: AtomicU64::new(0),
            failures_total: AtomicU64::new(0),
            available_since: AtomicU64::new(0),
            reading: ArcSwapOption::empty(),
            fleet: Arc::clone(fleet),
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

    /// Counts one more request; with `timed` it also notes when the first of
    /// several began to wait.
    #[inline]
    pub(crate) fn enter(&self, mask: u32, limit: u32, timed: Option<Instant>) -> bool {
        if let Some(now) = timed
            && self.waiting() == 0
        {
            self.progressed(self.fleet.tick(now));
        }
        match self.traffic.enter(mask, limit) {
            Ok(()) => true,
            Err(Refused { wake }) => {
                self.wake_if(wake);
                false
            }
        }
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
            self.idle.notify_waiters();
        }
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

    /// Folds one outcome into all that is known. The answer began: from now on
    /// the request is in flight, but nobody waits for it.
    pub(crate) fn observe(&self, outcome: Outcome, latency: Duration, now: Instant) {
        self.answer();
        self.learn(outcome, latency, now);
    }

    /// One request's answer began.
    pub(crate) fn answer(&self) {
        // Relaxed: as `waiting`.
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Folds one outcome into what is known.
    pub(crate) fn learn(&self, outcome: Outcome, latency: Duration, now: Instant) {
        let tick = self.fleet.tick(now);
        match outcome {
            Outcome::Cancelled => return self.observe_cancelled(latency.as_secs_f64(), tick),
            Outcome::Accepted => self.accept(tick),
            Outcome::Success => self.observe_latency(latency.as_secs_f64(), tick),
            Outcome::Failure | Outcome::Overloaded => {
                self.failures_total.fetch_add(1, Ordering::Relaxed);
                // Failing fast is not fast.
                let known = self.mean.get().map_or(0.0, |(mean, _)| mean);
                self.observe_latency(latency.as_secs_f64().max(known), tick);
            }
        }
        self.progressed(tick);
        let failed = outcome.is_failure();
        self.failures.update(tick, |old| match old {
            None => failure::after(0.0, failed, Duration::ZERO),
            Some((share, at)) => failure::after(share, failed, tick.since(at)),
        });
    }

    /// It would have taken at least this long: news only if that is more.
    fn observe_cancelled(&self, seconds: f64, tick: Tick) {
        if self.mean.get().is_some_and(|(mean, _)| seconds > mean) {
            self.observe_latency(seconds, tick);
        }
    }

    fn observe_latency(&self, seconds: f64, tick: Tick) {
        let decay = self.fleet.latency_decay;
        self.peak.update(tick, |old| match old {
            None => seconds,
            Some((estimate, at)) => mix(estimate, seconds, tick.since(at), decay),
        });
        let samples = |old: Option<(f64, Tick)>| {
            old.map_or(0.0, |(n, at)| n * keep(tick.since(at), decay)) + 1.0
        };
        self.samples.update(tick, samples);
        let n = self.samples.get().map_or(1.0, |(n, _)| n);
        self.mean.update(tick, |old| {
            old.map_or(seconds, |(mean, _)| mean + (seconds - mean) / n)
        });
        self.fleet.observe_latency(seconds, tick);
    }

    /// Response time in seconds as a peak-sensitive average, faded by the time
    /// since the last answer; `None` before the first.
    #[must_use]
    #[inline]
    pub fn peak_latency_seconds(&self, now: Instant) -> Option<f64> {
        let (estimate, at) = self.peak.get()?;
        Some(estimate * keep(self.fleet.tick(now).since(at), self.fleet.latency_decay))
    }

    /// Expected response time in seconds: the own mean, drawn towards the
    /// fleet's the less is known of this one. `None` while nothing is known.
    #[must_use]
    #[inline]
    pub fn expected_latency_seconds(&self, now: Instant) -> Option<f64> {
        let fleet = self.fleet.latency_seconds()?;
        let (Some((mean, _)), Some((n, at))) = (self.mean.get(), self.samples.get()) else {
            return Some(fleet * CURIOSITY);
        };
        let n = n * keep(self.fleet.tick(now).since(at), self.fleet.latency_decay);
        Some((mean * n + fleet * CURIOSITY) / (n + 1.0))
    }

    /// How long requests have been waiting here without any sign of life: a
    /// hung endpoint shows it though it never answers. Zero while none waits.
    #[must_use]
    #[inline]
    pub fn silence_seconds(&self, now: Instant) -> f64 {
        if self.waiting() == 0 {
            return 0.0;
        }
        let since = Tick(self.progress.load(Ordering::Relaxed));
        self.fleet.tick(now).since(since).as_secs_f64()
    }

    /// Recent share of failures, `0.0..=1.0`, faded by time.
    #[must_use]
    pub fn failure_share(&self, now: Instant) -> f64 {
        self.failures.get().map_or(0.0, |(share, at)| {
            failure::faded(share, self.fleet.tick(now).since(at))
        })
    }

    /// What recent failures multiply a score by; 1 for a well endpoint.
    #[must_use]
    #[inline]
    pub fn failure_factor(&self, now: Instant) -> f64 {
        match self.failures.get() {
            // Time only forgives: no need to look at the clock for a good share.
            Some((share, at)) if share > failure::TOLERATED => {
                failure::factor(failure::faded(share, self.fleet.tick(now).since(at)))
            }
            _ => 1.0,
        }
    }

    // === work that outlives its request ===

    fn accept(&self, tick: Tick) {
        // Relaxed: a statistic that a later report is set against.
        self.accepted_total.fetch_add(1, Ordering::Relaxed);
        self.accepted
            .update(tick, |old| remembered(old, tick) + 1.0);
        self.fleet.accept(tick);
    }

    /// Takes in a load report.
    pub(crate) fn report(&self, report: &LoadReport, now: Instant) {
        let own = (
            self.in_flight(),
            self.accepted_total.load(Ordering::Relaxed),
        );
        let before = self.reading.load();
        let reading = Reading::new(report, before.as_deref(), now, REPORT_EXPIRY, own);
        let tick = self.fleet.tick(now);
        for (resource, share) in reading.pressure.iter().enumerate() {
            if let Some(share) = share {
                self.fleet.observe_pressure(resource, *share, tick);
            }
        }
        if let Some(work) = reading.active_work {
            self.fleet.observe_active_work(work, tick);
        }
        self.reading.store(Some(Arc::new(reading)));
    }

    /// The last report, while it is fresh enough to be believed.
    #[must_use]
    pub fn load_report(&self, now: Instant) -> Option<Arc<LoadReport>> {
        self.with_reading(now, |reading| {
            reading.map(|reading| Arc::clone(&reading.report))
        })
    }

    /// Runs `read` on the last report if it is fresh.
    #[inline]
    pub(crate) fn with_reading<R>(
        &self,
        now: Instant,
        read: impl FnOnce(Option<&Reading>) -> R,
    ) -> R {
        let reading = self.reading.load();
        read(
            reading
                .as_deref()
                .filter(|reading| reading.is_fresh(now, REPORT_EXPIRY)),
        )
    }

    /// Units of work here now, whoever sent them: what was reported, corrected
    /// by what was sent since; never less than what is in flight from here.
    #[must_use]
    #[inline]
    pub fn work(&self, now: Instant) -> f64 {
        let in_flight = f64::from(self.in_flight());
        let known = self.with_reading(now, |reading| {
            let reading = reading?;
            let accepted = self
                .accepted_total
                .load(Ordering::Relaxed)
                .saturating_sub(reading.accepted);
            let newer = in_flight - f64::from(reading.in_flight);
            Some(reading.active_work? + accepted as f64 + newer)
        });
        let work = known.unwrap_or_else(|| {
            let accepted = remembered(self.accepted.get(), self.fleet.tick(now));
            self.fleet.active_work().max(accepted) + in_flight
        });
        work.max(in_flight)
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}
