//! What an instance knows of itself, gathered when a report is due.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use super::LoadReport;
use super::lent::{self, Loan, Writing};

/// A figure that somebody else knows; `None`: not now.
pub(super) type Gauge = Arc<dyn Fn() -> Option<f64> + Send + Sync>;

/// Adds figures of its own to a report.
pub(super) type Extend = Arc<dyn Fn(LoadReport) -> LoadReport + Send + Sync>;

/// Requests per second are measured over at least this time.
const WINDOW: Duration = Duration::from_secs(1);
/// Nobody believes a report that is older.
const OLDEST: Duration = Duration::from_secs(60);

/// What is asked for a report.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) extends: Vec<Extend>,
    pub(super) capacity: Option<f64>,
    pub(super) refresh: Duration,
}

/// The requests of one instance, and the report made of them. Its references are counted:
/// all but one, which the [`Instance`] has, are requests that run.
pub(super) struct Instrument {
    sources: Sources,
    started: AtomicU64,
    failed: AtomicU64,
    rates: Mutex<Rates>,
    latest: ArcSwapOption<Writing>,
    /// Number of the latest writing; 0 before the first.
    written: AtomicU64,
    /// Where threads keep it.
    place: usize,
}

/// Two marks in time, the older at least one window old once there was one.
#[derive(Debug)]
struct Rates {
    older: Mark,
    newer: Mark,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    requests: u64,
    errors: u64,
}

/// What the services of one layer share.
pub(super) type Instance = Arc<OnceLock<Arc<Instrument>>>;

/// A request that runs until this is dropped.
#[derive(Debug)]
pub struct Running(pub(super) Arc<Instrument>);

impl Instrument {
    pub(super) fn new(sources: Sources, now: Instant) -> Self {
        let mark = Mark {
            at: now,
            requests: 0,
            errors: 0,
        };
        Self {
            sources,
            started: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rates: Mutex::new(Rates {
                older: mark,
                newer: mark,
            }),
            latest: ArcSwapOption::empty(),
            written: AtomicU64::new(0),
            place: lent::place(),
        }
    }

    #[inline]
    pub(super) fn start(self: &Arc<Self>) -> Running {
        // Relaxed: a statistic; it orders no other memory.
        self.started.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    pub(super) fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// What an answer brings: the header as it is now, or was a moment ago; nothing if
    /// enough answers brought the same.
    #[inline]
    pub(super) fn header(self: &Arc<Self>, clock: impl Fn() -> Instant) -> Option<HeaderValue> {
        // Relaxed: who misses a new writing sends the one before once more.
        let written = self.written.load(Ordering::Relaxed);
        match lent::lend(self.place, written, &clock) {
            Loan::Value(value) => Some(value),
            Loan::Spared => None,
            Loan::Unknown => self.look_up(clock()),
        }
    }

    /// Writes it anew unless another thread did; this one keeps it for its next answers.
    #[cold]
    #[inline(never)]
    fn look_up(self: &Arc<Self>, now: Instant) -> Option<HeaderValue> {
        let latest = self.latest.load_full().filter(|latest| now < latest.until);
        let writing = match latest {
            Some(latest) => latest,
            None => self.write(now)?,
        };
        let value = writing.value.clone();
        lent::keep(self.place, writing);
        Some(value)
    }

    /// `None` if there is nothing to report.
    fn write(self: &Arc<Self>, now: Instant) -> Option<Arc<Writing>> {
        let value = self.report(now).header_value()?;
        let writing = Arc::new(Writing::new(value, now + self.sources.refresh.min(OLDEST)));
        self.latest.store(Some(Arc::clone(&writing)));
        // Relaxed: as `header`.
        self.written.store(writing.number, Ordering::Relaxed);
        Some(writing)
    }

    /// The report as it is now.
    pub(super) fn report(self: &Arc<Self>, now: Instant) -> LoadReport {
        let running = (Arc::strong_count(self) - 1) as f64;
        let started = self.started.load(Ordering::Relaxed);
        let errors = self.failed.load(Ordering::Relaxed);
        let (rps, eps) = self.rates(now, started, errors);
        let mut report = LoadReport {
            rps_fractional: rps,
            eps,
            ..LoadReport::default()
        }
        .named_metric("active_work", running);
        for extend in &self.sources.extends {
            report = extend(report);
        }
        if let (Some(capacity), None) = (self.sources.capacity, report.application_utilization) {
            let work = report.active_work().unwrap_or(running);
            report.application_utilization = Some(work / capacity);
        }
        report
    }

    /// Requests and errors per second since the older mark; `None` in the first second: a
    /// few requests of one moment are no rate.
    fn rates(&self, now: Instant, requests: u64, errors: u64) -> (Option<f64>, Option<f64>) {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(rates.newer.at) >= WINDOW {
            rates.older = rates.newer;
            rates.newer = Mark {
                at: now,
                requests,
                errors,
            };
        }
        let passed = now.saturating_duration_since(rates.older.at);
        let rate = |count: u64| (passed >= WINDOW).then(|| count as f64 / passed.as_secs_f64());
        (
            rate(requests.saturating_sub(rates.older.requests)),
            rate(errors.saturating_sub(rates.older.errors)),
        )
    }
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instrument")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}
