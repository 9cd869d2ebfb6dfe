//! Exact counts of the last while, in a ring of buckets.
//!
//! No moving average: one weighted by the time between arrivals gives a tight
//! burst of failures almost no weight.

use std::time::{Duration, Instant};

use super::{Latency, SuccessRate};

/// The oldest tenth leaves at once.
pub(super) const BUCKETS: u32 = 10;

/// Requests and failures of one endpoint over the last interval.
#[derive(Clone, Debug)]
pub(super) struct Window {
    start: Instant,
    bucket: Duration,
    /// Number of the newest bucket since `start`.
    newest: u64,
    /// When the newest bucket ends.
    ends: Instant,
    buckets: [Counts; BUCKETS as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u32,
    failures: u32,
    timed: u32,
    /// Sum of the logarithms of their seconds.
    log_seconds: f32,
}

impl Window {
    /// `interval` is above zero.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self {
            start: now,
            bucket: interval / BUCKETS,
            newest: 0,
            ends: now + interval / BUCKETS,
            buckets: Default::default(),
        }
    }

    pub(super) fn add(&mut self, failed: bool, now: Instant) {
        self.turn(now);
        let bucket = &mut self.buckets[slot(self.newest)];
        bucket.requests = bucket.requests.saturating_add(1);
        bucket.failures = bucket.failures.saturating_add(u32::from(failed));
    }

    /// How long an answer took that `add` counted, or a cancelled one at least.
    pub(super) fn time(&mut self, latency: Duration, now: Instant) {
        self.turn(now);
        let bucket = &mut self.buckets[slot(self.newest)];
        bucket.timed = bucket.timed.saturating_add(1);
        bucket.log_seconds += latency.as_secs_f32().max(1e-6).ln();
    }

    /// How long the answers of the last interval took.
    pub(super) fn latency(&mut self, now: Instant) -> Latency {
        self.turn(now);
        let timed = self.buckets.iter().map(|at| u64::from(at.timed));
        let requests: u64 = timed.sum();
        let logs = self.buckets.iter().map(|at| f64::from(at.log_seconds));
        let typical_seconds = (logs.sum::<f64>() / requests.max(1) as f64).exp();
        Latency {
            typical_seconds,
            requests,
        }
    }

    /// What the last interval shows; nothing seen counts as success.
    pub(super) fn success_rate(&mut self, now: Instant) -> SuccessRate {
        self.turn(now);
        let sum = |of: fn(&Counts) -> u32| self.buckets.iter().map(|at| u64::from(of(at))).sum();
        let (requests, failures): (u64, u64) = (sum(|at| at.requests), sum(|at| at.failures));
        let rate = 1.0 - failures as f64 / requests.max(1) as f64;
        SuccessRate { rate, requests }
    }

    /// Empties what has become too old. Time that runs backwards counts as none.
    fn turn(&mut self, now: Instant) {
        if now < self.ends {
            return;
        }
        let passed = now.saturating_duration_since(self.start).as_nanos();
        let number = (passed / self.bucket.as_nanos().max(1)) as u64;
        let turned = number.saturating_sub(self.newest).min(BUCKETS.into());
        for step in 1..=turned {
            self.buckets[slot(self.newest + step)] = Counts::default();
        }
        self.newest = self.newest.max(number);
        let bucket = self.bucket.as_nanos() as u64;
        self.ends = self.start + Duration::from_nanos(bucket.saturating_mul(self.newest + 1));
    }
}

fn slot(number: u64) -> usize {
    (number % u64::from(BUCKETS)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The ring says what a list of all requests says.
        #[test]
        fn the_window_is_exact(steps in prop::collection::vec((0_u64..4_000, any::<bool>()), 1..80)) {
            let start = crate::clock::now();
            let mut window = Window::new(Duration::from_secs(10), start);
            let (mut millis, mut all) = (0, Vec::new());
            for (pause, failed) in steps {
                millis += pause;
                let now = start + Duration::from_millis(millis);
                window.add(failed, now);
                all.push((millis / 1_000, failed));
                let live = all.iter().filter(|(second, _)| second + 10 > millis / 1_000);
                let failures = live.clone().filter(|(_, failed)| *failed).count();
                let seen = window.success_rate(now);
                prop_assert_eq!(seen.requests, live.clone().count() as u64);
                let rate = 1.0 - failures as f64 / live.count() as f64;
                prop_assert!((seen.rate - rate).abs() < 1e-9);
            }
        }
    }
}
