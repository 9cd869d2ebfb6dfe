//! Did this process run all the time?

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::endpoint::Observation;

/// Two beats are this much further apart than planned only if the process stood still.
const STILL: Duration = Duration::from_secs(5);

/// When the process was last seen running, and when it last resumed.
#[derive(Debug)]
pub(crate) struct Pulse {
    start: Instant,
    longest: AtomicU64,
    last: AtomicU64,
    resumed: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self {
            start: now,
            longest: AtomicU64::new((every + STILL).as_nanos() as u64),
            last: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
        }
    }

    /// Beats come this often from now on.
    pub(crate) fn expect(&self, every: Duration) {
        // Relaxed: as below.
        self.longest
            .store((every + STILL).as_nanos() as u64, Ordering::Relaxed);
    }

    fn longest(&self) -> u64 {
        // Relaxed: one word that stands for itself.
        self.longest.load(Ordering::Relaxed)
    }

    /// Called regularly; `true` if the process stood still since the last time.
    pub(crate) fn beat(&self, now: Instant) -> bool {
        let now = self.nanos(now);
        // Relaxed: each word stands for itself.
        let stood = now.saturating_sub(self.last.swap(now, Ordering::Relaxed)) > self.longest();
        if stood {
            self.resumed.store(now, Ordering::Relaxed);
        }
        stood
    }

    /// A request that was under way while the process stood still says nothing.
    pub(crate) fn is_void(&self, observation: &Observation) -> bool {
        let ended = self.nanos(observation.now);
        let began = ended.saturating_sub(observation.latency.as_nanos() as u64);
        // Relaxed: as above.
        ended.saturating_sub(self.last.load(Ordering::Relaxed)) > self.longest()
            || began < self.resumed.load(Ordering::Relaxed)
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_nanos() as u64
    }
}
