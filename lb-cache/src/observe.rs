//! Metrics, through the `metrics` facade: every name of this crate in one place.
//!
//! Hits are counted without the facade, because a hit must stay cheap; the
//! numbers are handed over about once a second while values are written, and
//! whenever [`crate::TieredCache::publish_metrics`] is called. A cache that is
//! only read hands nothing over by itself: whoever answers `/metrics` calls it
//! for every cache first, and renders then.
//!
//! ```
//! use lb_cache::{Local, TieredCache};
//!
//! lb_cache::observe::describe(); // Once, after the recorder is installed.
//! let results = TieredCache::<u64, u64>::builder("results").local(Local::lru(100)).build()?;
//! # let render = String::new; // Of your exporter: `PrometheusHandle::render`, for example.
//! let metrics = move || {
//!     results.publish_metrics();
//!     render()
//! };
//! # metrics();
//! # Ok::<(), lb_cache::ConfigError>(())
//! ```

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::stats::{Stats, TierStats};

const HITS: &str = "lb_cache_hits_total";
const MISSES: &str = "lb_cache_misses_total";
const STALE: &str = "lb_cache_stale_served_total";
const LOADS: &str = "lb_cache_loads_total";
const JOINED: &str = "lb_cache_loads_joined_total";
const ENTRIES: &str = "lb_cache_entries";
const WEIGHT: &str = "lb_cache_weight";
const INVALIDATIONS: &str = "lb_cache_invalidations_total";
const FAILURES: &str = "lb_cache_tier_failures_total";
const SKIPPED: &str = "lb_cache_tier_skipped_total";
const CORRUPT: &str = "lb_cache_tier_corrupt_total";
const WRITES: &str = "lb_cache_tier_writes_total";
const DISTRUSTED: &str = "lb_cache_tier_distrusted_keys";
const OPEN: &str = "lb_cache_tier_breaker_open";

/// Describes every metric to the installed recorder.
pub fn describe() {
    describe_counter!(HITS, Unit::Count, "lookups answered, by level");
    describe_counter!(MISSES, Unit::Count, "lookups that had to go on, by level");
    describe_counter!(STALE, Unit::Count, "stale values served");
    describe_counter!(LOADS, Unit::Count, "loads, by outcome");
    describe_counter!(
        JOINED,
        Unit::Count,
        "callers that waited for another caller's load"
    );
    describe_gauge!(ENTRIES, Unit::Count, "entries in the local tier");
    describe_gauge!(WEIGHT, Unit::Count, "weight of the local tier");
    describe_counter!(INVALIDATIONS, Unit::Count, "keys invalidated");
    describe_counter!(FAILURES, Unit::Count, "failed calls to a tier, by kind");
    describe_counter!(
        SKIPPED,
        Unit::Count,
        "calls not made: breaker open or key distrusted"
    );
    describe_counter!(CORRUPT, Unit::Count, "values that did not decode");
    describe_counter!(WRITES, Unit::Count, "writes to a tier, by outcome");
    describe_gauge!(DISTRUSTED, Unit::Count, "keys a tier is not trusted with");
    describe_gauge!(
        OPEN,
        Unit::Count,
        "1 while any breaker of the tier is not closed"
    );
}

/// Hands the numbers of one cache over.
pub(crate) fn publish(stats: &Stats) {
    let name = || stats.namespace.clone();
    let (local, loads) = (&stats.local, &stats.loads);
    counter!(HITS, "cache" => name(), "level" => "local").absolute(local.hits);
    counter!(HITS, "cache" => name(), "level" => "negative").absolute(local.negative_hits);
    counter!(MISSES, "cache" => name(), "level" => "local").absolute(local.misses);
    counter!(STALE, "cache" => name()).absolute(local.stale_served);
    counter!(JOINED, "cache" => name()).absolute(loads.joined);
    counter!(INVALIDATIONS, "cache" => name()).absolute(stats.invalidations);
    gauge!(ENTRIES, "cache" => name()).set(local.entries as f64);
    gauge!(WEIGHT, "cache" => name()).set(local.weight as f64);
    let outcomes = [
        ("loaded", loads.loaded),
        ("absent", loads.absent),
        ("failed", loads.failed),
        ("timed_out", loads.timed_out),
        ("panicked", loads.panicked),
    ];
    for (outcome, count) in outcomes {
        counter!(LOADS, "cache" => name(), "outcome" => outcome).absolute(count);
    }
    for (level, tier) in [("shared", &stats.shared), ("database", &stats.database)] {
        if let Some(tier) = tier {
            publish_tier(&stats.namespace, level, tier);
        }
    }
}

fn publish_tier(cache: &str, level: &'static str, tier: &TierStats) {
    let name = || cache.to_owned();
    counter!(HITS, "cache" => name(), "level" => level).absolute(tier.hits);
    counter!(MISSES, "cache" => name(), "level" => level).absolute(tier.misses);
    counter!(FAILURES, "cache" => name(), "level" => level, "kind" => "error")
        .absolute(tier.errors);
    counter!(FAILURES, "cache" => name(), "level" => level, "kind" => "timeout")
        .absolute(tier.timeouts);
    counter!(SKIPPED, "cache" => name(), "level" => level).absolute(tier.skipped);
    counter!(CORRUPT, "cache" => name(), "level" => level).absolute(tier.corrupt);
    for (outcome, count) in [
        ("done", tier.writes),
        ("refused", tier.refused_writes),
        ("lost", tier.lost_writes),
    ] {
        counter!(WRITES, "cache" => name(), "level" => level, "outcome" => outcome).absolute(count);
    }
    gauge!(DISTRUSTED, "cache" => name(), "level" => level).set(tier.distrusted_keys as f64);
    gauge!(OPEN, "cache" => name(), "level" => level)
        .set(f64::from(u8::from(tier.breaker != "closed")));
}
