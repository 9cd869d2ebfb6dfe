//! Statistics per namespace and level.
//!
//! Counting must not slow a hit down: hits are counted in stripes of their own
//! cache lines, one per thread, and added up when somebody asks. A *hit rate* is
//! always hits over the lookups that reached that level.
//!
//! ```
//! use lb_cache::{CacheError, Local, TieredCache};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let squares = TieredCache::<u64, u64>::builder("squares").local(Local::lru(10)).build()?;
//! for _ in 0..4 {
//!     squares.get_or_load(&7, || async { Ok::<_, CacheError>(49) }).await?;
//! }
//! let stats = squares.stats();
//! assert_eq!((stats.local.hits, stats.loads.loaded), (3, 1));
//! assert_eq!(stats.local.hit_rate(), Some(0.75));
//! # Ok(()) }
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::stripe;

/// Hits of the local tier: one stripe per thread, and one for threads beyond those.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    own: [Stripe; stripe::OWN],
    shared: Stripe,
}

/// Two cache lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Hits {
    #[inline]
    pub(crate) fn count(&self) {
        // Relaxed, all: a statistic; it orders no other memory.
        match self.own.get(stripe::mine()) {
            // Nobody else writes here, so nothing is lost between load and store.
            Some(Stripe(own)) => own.store(own.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
            None => drop(self.shared.0.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub(crate) fn total(&self) -> u64 {
        let stripes = self.own.iter().chain([&self.shared]);
        // Relaxed: a statistic.
        stripes
            .map(|Stripe(hits)| hits.load(Ordering::Relaxed))
            .sum()
    }
}

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        // Relaxed: a statistic; it orders no other memory.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // Relaxed: a statistic.
        self.0.load(Ordering::Relaxed)
    }
}

/// Buckets of a latency histogram: bucket `n` holds up to `2^n` microseconds.
const BUCKETS: usize = 26;

/// Latencies in powers of two of a microsecond.
#[derive(Debug, Default)]
pub(crate) struct Latencies([Counter; BUCKETS]);

impl Latencies {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let bucket = (u64::BITS - (micros - 1).leading_zeros()) as usize;
        self.0[bucket.min(BUCKETS - 1)].add(1);
    }

    fn snapshot(&self) -> LatencyStats {
        let counts: Vec<u64> = self.0.iter().map(Counter::get).collect();
        LatencyStats {
            count: counts.iter().sum(),
            p50: quantile(&counts, 0.5),
            p99: quantile(&counts, 0.99),
        }
    }
}

/// The upper edge of the bucket that holds the quantile.
fn quantile(counts: &[u64], share: f64) -> Duration {
    let total: u64 = counts.iter().sum();
    let rank = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= rank && rank > 0
    });
    bucket.map_or(Duration::ZERO, |bucket| Duration::from_micros(1 << bucket))
}

/// Counters of one tier beyond the local one.
#[derive(Debug, Default)]
pub(crate) struct TierCounters {
    pub(crate) hits: Counter,
    pub(crate) stale_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) skipped: Counter,
    pub(crate) errors: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) corrupt: Counter,
    pub(crate) writes: Counter,
    pub(crate) refused_writes: Counter,
    pub(crate) lost_writes: Counter,
    pub(crate) latency: Latencies,
}

impl TierCounters {
    pub(crate) fn snapshot(
        &self,
        tier: &'static str,
        breaker: &'static str,
        distrusted: usize,
    ) -> TierStats {
        TierStats {
            tier,
            hits: self.hits.get(),
            stale_hits: self.stale_hits.get(),
            misses: self.misses.get(),
            skipped: self.skipped.get(),
            errors: self.errors.get(),
            timeouts: self.timeouts.get(),
            corrupt: self.corrupt.get(),
            writes: self.writes.get(),
            refused_writes: self.refused_writes.get(),
            lost_writes: self.lost_writes.get(),
            latency: self.latency.snapshot(),
            breaker,
            distrusted_keys: distrusted,
        }
    }
}

/// Counters of one cache. Everything but the hits is off the hot path.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) misses: Counter,
    pub(crate) negative_hits: Counter,
    pub(crate) stale_served: Counter,
    pub(crate) loads: Counter,
    pub(crate) loaded: Counter,
    pub(crate) absent: Counter,
    pub(crate) failed: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) panicked: Counter,
    pub(crate) joined: Counter,
    pub(crate) refreshes: Counter,
    pub(crate) outdated: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) inserts: Counter,
    pub(crate) load_latency: Latencies,
}

impl Counters {
    pub(crate) fn loads(&self, in_flight: usize) -> LoadStats {
        LoadStats {
            started: self.loads.get(),
            loaded: self.loaded.get(),
            absent: self.absent.get(),
            failed: self.failed.get(),
            timed_out: self.timed_out.get(),
            panicked: self.panicked.get(),
            joined: self.joined.get(),
            refreshes: self.refreshes.get(),
            outdated: self.outdated.get(),
            in_flight,
            latency: self.load_latency.snapshot(),
        }
    }
}

/// What one cache has seen since it was built.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The namespace of the cache.
    pub namespace: String,
    /// The tier in this process.
    pub local: LocalStats,
    /// The shared tier, if there is one.
    pub shared: Option<TierStats>,
    /// The database tier, if there is one.
    pub database: Option<TierStats>,
    /// Loads by loaders and sources.
    pub loads: LoadStats,
    /// Values inserted by callers.
    pub inserts: u64,
    /// Keys invalidated by callers.
    pub invalidations: u64,
}

/// The tier in this process.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct LocalStats {
    /// Lookups answered with a fresh value.
    pub hits: u64,
    /// Lookups answered with "there is no such value".
    pub negative_hits: u64,
    /// Lookups that had to go on.
    pub misses: u64,
    /// Lookups answered with a stale value, because loading failed or was slow.
    pub stale_served: u64,
    /// Entries held now, roughly: the engine settles its books in the background.
    pub entries: u64,
    /// Their weight: bytes or entries, as the policy counts.
    pub weight: u64,
    /// Negative entries held now.
    pub negative_entries: u64,
}

impl LocalStats {
    /// Hits over all lookups; `None` before the first.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let hits = self.hits + self.negative_hits;
        let lookups = hits + self.misses;
        (lookups > 0).then(|| hits as f64 / lookups as f64)
    }
}

/// One tier beyond the local one.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TierStats {
    /// What the tier calls itself.
    pub tier: &'static str,
    /// Lookups answered with a fresh value.
    pub hits: u64,
    /// Lookups that found a stale value and kept it as a fallback.
    pub stale_hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
    /// Calls not made: the breaker was open, or the key was distrusted.
    pub skipped: u64,
    /// Calls that failed, without those that timed out.
    pub errors: u64,
    /// Calls that ran into the deadline.
    pub timeouts: u64,
    /// Values that did not decode, and counted as misses.
    pub corrupt: u64,
    /// Values written.
    pub writes: u64,
    /// Fills refused because the key had changed meanwhile.
    pub refused_writes: u64,
    /// Writes that failed or have an unknown end; their keys are distrusted until repaired.
    pub lost_writes: u64,
    /// Latencies of answered calls.
    pub latency: LatencyStats,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Keys waiting to be removed from the tier before it is trusted with them again.
    pub distrusted_keys: usize,
}

/// Loads by loaders and sources.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LoadStats {
    /// Loaders started.
    pub started: u64,
    /// Loads that brought a value.
    pub loaded: u64,
    /// Loads that found that there is no value.
    pub absent: u64,
    /// Loads that failed.
    pub failed: u64,
    /// Loads that ran into the hard time-out.
    pub timed_out: u64,
    /// Loads that panicked.
    pub panicked: u64,
    /// Callers that waited for a load which another caller had started.
    pub joined: u64,
    /// Loads started in the background for an ageing or stale value.
    pub refreshes: u64,
    /// Loaded values that were not kept, because the key changed during the load.
    pub outdated: u64,
    /// Keys being looked up or loaded now.
    pub in_flight: usize,
    /// Latencies of loaders.
    pub latency: LatencyStats,
}

/// Latencies; quantiles are upper edges of power-of-two buckets.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LatencyStats {
    /// How many were measured.
    pub count: u64,
    /// Half of them took at most this long.
    pub p50: Duration,
    /// 99 of 100 took at most this long.
    pub p99: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_upper_edge_of_its_bucket() {
        let latencies = Latencies::default();
        for micros in [1, 3, 3, 1_000] {
            latencies.record(Duration::from_micros(micros));
        }
        let seen = latencies.snapshot();
        assert_eq!(
            (seen.count, seen.p50, seen.p99),
            (4, Duration::from_micros(4), Duration::from_micros(1_024))
        );
    }

    #[test]
    fn no_latency_is_too_long_or_too_short_to_count() {
        let latencies = Latencies::default();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert_eq!(latencies.snapshot().count, 2);
        assert_eq!(Latencies::default().snapshot().p99, Duration::ZERO);
    }

    #[test]
    fn no_hit_is_lost_however_many_threads_count() {
        let hits = Hits::default();
        for _generation in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..stripe::OWN + 8 {
                    scope.spawn(|| (0..1_000).for_each(|_| hits.count()));
                }
            });
        }
        assert_eq!(hits.total(), 2 * 1_000 * (stripe::OWN as u64 + 8));
    }

    #[test]
    fn a_hit_rate_needs_a_lookup() {
        let mut local = LocalStats::default();
        assert_eq!(local.hit_rate(), None);
        local.hits = 3;
        local.misses = 1;
        assert_eq!(local.hit_rate(), Some(0.75));
    }
}
