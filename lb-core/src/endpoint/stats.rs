//! What is known of one endpoint by sending it requests.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::endpoint::{
    Cause, Outcome, failure,
    peak_ewma::{keep, mix},
    stamped::{Stamped, Tick},
    traffic::{Refused, Traffic},
};

/// Counters and estimates of one endpoint. They live as long as the endpoint's
/// incarnation and survive every change of weight, zone, policy or membership.
///
/// The alignment keeps two endpoints off one pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct Stats {
    traffic: Traffic,
    latency: Stamped,
    failures: Stamped,
    failures_total: AtomicU64,
    available_since: AtomicU64,
    start: Instant,
    latency_decay: Duration,
    pub(crate) idle: Notify,
}

impl Stats {
    pub(crate) fn new(causes: u32, now: Instant, shared: Shared) -> Self {
        let stats = Self {
            traffic: Traffic::new(causes),
            latency: Stamped::default(),
            failures: Stamped::default(),
            failures_total: AtomicU64::new(0),
            available_since: AtomicU64::new(0),
            start: shared.start,
            latency_decay: shared.latency_decay,
            idle: Notify::new(),
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

    #[inline]
    pub(crate) fn enter(&self, mask: u32, limit: u32) -> bool {
        match self.traffic.enter(mask, limit) {
            Ok(()) => true,
            Err(Refused { wake }) => {
                self.wake_if(wake);
                false
            }
        }
    }

    #[inline]
    pub(crate) fn leave(&self) {
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
        let after = if on { before | bits } else { before & !bits };
        if before != 0 && after == 0 {
            self.available_from(now);
        }
        before != after
    }

    fn available_from(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.start).as_nanos() as u64;
        // Relaxed: one word, read as a hint by slow start.
        self.available_since.store(nanos, Ordering::Relaxed);
    }

    /// Since when the endpoint is available without interruption.
    #[must_use]
    pub fn available_since(&self) -> Instant {
        self.start + Duration::from_nanos(self.available_since.load(Ordering::Relaxed))
    }

    // === what is observed ===

    fn tick(&self, now: Instant) -> Tick {
        Tick::at(now.saturating_duration_since(self.start))
    }

    pub(crate) fn observe(&self, outcome: Outcome, latency: Duration, now: Instant) {
        let tick = self.tick(now);
        let sample = latency.as_secs_f64();
        if outcome.is_failure() {
            self.failures_total.fetch_add(1, Ordering::Relaxed);
        }
        if outcome == Outcome::Cancelled {
            // It would have taken at least this long: only news if it is more.
            if self
                .latency
                .get()
                .is_none_or(|(estimate, _)| sample <= estimate)
            {
                return;
            }
        } else {
            self.failures.update(tick, |old| match old {
                None => failure::after(0.0, outcome.is_failure(), Duration::ZERO),
                Some((share, at)) => failure::after(share, outcome.is_failure(), tick.since(at)),
            });
        }
        self.latency.update(tick, |old| match old {
            None => sample,
            Some((estimate, at)) => mix(estimate, sample, tick.since(at), self.latency_decay),
        });
    }

    /// Response time in seconds as a peak-sensitive average, faded by the time
    /// since the last answer; `None` before the first.
    #[must_use]
    #[inline]
    pub fn latency_seconds(&self, now: Instant) -> Option<f64> {
        let (estimate, at) = self.latency.get()?;
        Some(estimate * keep(self.tick(now).since(at), self.latency_decay))
    }

    /// Recent share of failures, `0.0..=1.0`, faded by time.
    #[must_use]
    pub fn failure_share(&self, now: Instant) -> f64 {
        self.failures.get().map_or(0.0, |(share, at)| {
            failure::faded(share, self.tick(now).since(at))
        })
    }

    /// What recent failures multiply a score by; 1 for a well endpoint.
    #[must_use]
    #[inline]
    pub fn failure_factor(&self, now: Instant) -> f64 {
        match self.failures.get() {
            None => 1.0,
            // Time only forgives: no need to look at the clock for a good share.
            Some((share, _)) if share <= 0.3 => 1.0,
            Some((share, at)) => failure::factor(failure::faded(share, self.tick(now).since(at))),
        }
    }
}

/// What all statistics of a pool have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    pub(crate) start: Instant,
    pub(crate) latency_decay: Duration,
}
