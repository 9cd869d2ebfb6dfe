//! Quantiles of recent latencies from counts in growing buckets.

use std::time::{Duration, Instant};

/// Bounds grow by 2^(1/8), 9 %: from 1/16 ms to 4.5 hours.
const BUCKETS: usize = 224;
const PER_OCTAVE: f64 = 8.0;
/// The width of the first bucket in seconds.
const FIRST: f64 = 0.000_062_5;
/// Answers count for one to two of these.
const HALF: Duration = Duration::from_secs(30);
/// Fewer answers say nothing.
const ENOUGH: u64 = 20;

/// Counts of the current and the last half minute.
#[derive(Debug)]
pub(super) struct Latencies {
    since: Option<Instant>,
    current: Counts,
    last: Counts,
}

#[derive(Clone, Debug)]
struct Counts([u32; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self {
            since: None,
            current: Counts([0; BUCKETS]),
            last: Counts([0; BUCKETS]),
        }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration, now: Instant) {
        self.turn(now);
        let count = &mut self.current.0[bucket(latency)];
        *count = count.saturating_add(1);
    }

    /// The upper bound of the bucket that this share of the answers lies within.
    pub(super) fn quantile(&mut self, share: f64, now: Instant) -> Option<Duration> {
        self.turn(now);
        let both = || self.current.0.iter().zip(&self.last.0);
        let counts = || both().map(|(a, b)| u64::from(*a) + u64::from(*b));
        let all: u64 = counts().sum();
        if all < ENOUGH {
            return None;
        }
        let wanted = (share * all as f64).ceil() as u64;
        let mut below = 0;
        let reached = counts().position(|count| {
            below += count;
            below >= wanted
        });
        reached.map(upper)
    }

    /// Time that runs backwards counts as none.
    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed < HALF {
            return;
        }
        let fresh = Counts([0; BUCKETS]);
        let current = std::mem::replace(&mut self.current, fresh.clone());
        self.last = if passed < 2 * HALF { current } else { fresh };
        self.since = Some(now);
    }
}

fn bucket(latency: Duration) -> usize {
    let octaves = (latency.as_secs_f64() / FIRST).log2();
    // `as` saturates: the shortest and the longest share the outermost buckets.
    ((octaves * PER_OCTAVE).ceil() as usize).min(BUCKETS - 1)
}

fn upper(bucket: usize) -> Duration {
    Duration::from_secs_f64(FIRST * (bucket as f64 / PER_OCTAVE).exp2())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let now = crate::clock::now();
        let mut known = Latencies::default();
        (0..100).for_each(|_| known.add(Duration::from_secs(1), now));
        assert!(known.quantile(0.5, now + HALF).is_some());
        assert_eq!(known.quantile(0.5, now + 2 * HALF), None);
    }

    proptest! {
        /// As sorting all of them would say, to within a tenth.
        #[test]
        fn a_quantile_is_near_the_exact_one(
            mut micros in prop::collection::vec(100_u64..60_000_000, 20..200),
            share in 0.01..0.99_f64,
        ) {
            let now = crate::clock::now();
            let mut known = Latencies::default();
            for each in &micros {
                known.add(Duration::from_micros(*each), now);
            }
            micros.sort_unstable();
            let at = (share * micros.len() as f64).ceil() as usize - 1;
            let exact = micros[at] as f64 / 1e6;
            let found = known.quantile(share, now).unwrap().as_secs_f64();
            prop_assert!((exact..=exact * 1.1).contains(&(found * (1.0 + 1e-9))), "{found} for {exact}");
        }
    }
}
