//! Memory does not follow what clients send: a million keys, a hundred thousand windows.

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use http::{HeaderMap, header};
use lb_core::breaker::CircuitBreaker;
use lb_core::limit::{Quota, RateLimiter};
use lb_core::outlier::OutlierDetection;
use lb_core::policy::RoundRobin;
use lb_core::{Affinity, Endpoint, EndpointSpec, Pool};

const KEYS: u64 = 1_000_000;
const ALL: u64 = 300_000;

/// A limiter that may remember `capacity` keys is asked for so many.
fn many_keys(keys: u64, capacity: usize) -> (AllocationInfo, usize) {
    let quota = Quota::new(1, Duration::from_secs(3_600)).expect("a quota");
    let limiter = RateLimiter::with_capacity(quota, capacity).expect("a limiter");
    let used = measure(|| {
        for key in 0..keys {
            std::hint::black_box(limiter.check(&key));
        }
    });
    (used, limiter.keys())
}

#[test]
fn a_million_keys_take_no_more_memory_than_the_capacity_allows() {
    let (used, keys) = many_keys(KEYS, 100_000);
    assert!(keys <= 100_016, "{keys}");
    // 17 bytes a place at a load of one half or more, and the old table while it grows.
    let bound = 64 * 100_000;
    assert!(used.bytes_max <= bound, "{} bytes", used.bytes_max);
    // The control: who may remember them all does, and it shows.
    let (all, keys) = many_keys(ALL, 2_000_000);
    assert_eq!(keys as u64, ALL);
    assert!(all.bytes_max > bound, "{} bytes", all.bytes_max);
    assert!(all.bytes_max <= 64 * ALL, "{} bytes", all.bytes_max);
}

/// Tokens that are remembered once they were opened, at most.
const REMEMBERED: i64 = 4_096;

/// One client each minute comes with the token of that minute; how much memory stays.
fn open_tokens(affinity: &Affinity, endpoint: &Endpoint, minutes: std::ops::Range<u64>) -> i64 {
    let used = measure(|| {
        for minute in minutes {
            let now = minute * 60;
            let (_, token) = affinity.bind(endpoint, now, false).expect("a token");
            let mut fields = HeaderMap::new();
            fields.insert(header::COOKIE, token);
            assert!(affinity.binding(&fields, now).is_some());
            assert!(affinity.binding(&fields, now).is_some(), "known by now");
        }
    });
    used.bytes_current
}

#[test]
fn tokens_take_no_more_memory_than_their_table_however_many_clients_come() {
    let affinity = Affinity::cookie("lb", "a secret of sixteen bytes");
    let pool = Pool::builder("tokens").endpoints(["http://10.0.0.1:80"]);
    let endpoint = pool.build().expect("a pool").endpoints().remove(0);
    let table = open_tokens(&affinity, &endpoint, 0..20_000);
    assert!(table <= 256 * REMEMBERED, "{table} bytes");
    assert!(table >= 64 * REMEMBERED, "{table} bytes: nothing is kept");
    let more = open_tokens(&affinity, &endpoint, 20_000..25_000);
    assert!(more <= 16 * REMEMBERED, "{more} bytes more");
    // What somebody made up is never kept.
    let forged = measure(|| {
        for client in 0..2_000_u32 {
            let value = format!("lb={}{client:08}", "A".repeat(40));
            let mut fields = HeaderMap::new();
            fields.insert(header::COOKIE, value.parse().expect("a value"));
            assert!(affinity.binding(&fields, 0).is_none());
        }
    });
    assert_eq!(forged.bytes_current, 0);
}

const ENDPOINTS: u64 = 100_000;

/// Bytes that one endpoint costs more after `change`.
fn bytes_each(pool: &Pool, change: impl FnOnce(&Pool)) -> u64 {
    let used = measure(|| change(pool));
    used.bytes_current.max(0) as u64 / ENDPOINTS
}

#[test]
fn a_hundred_thousand_endpoints_are_watched_within_the_stated_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let spec = |index| EndpointSpec::new(format!("e{index}"), "http://10.0.0.1:80");
    let pool = Pool::builder("many")
        .endpoints((0..ENDPOINTS).map(spec))
        .policy(RoundRobin::default())
        .build()
        .expect("a pool");
    let watch = |pool: &Pool| {
        pool.set_outlier(Some(OutlierDetection::default()))
            .expect("on");
    };
    let windows = bytes_each(&pool, watch);
    assert!(
        (200..=512).contains(&windows),
        "{windows} bytes an endpoint"
    );
    let breaker = |pool: &Pool| {
        pool.set_breaker(Some(CircuitBreaker::default()))
            .expect("on");
    };
    assert_eq!(
        bytes_each(&pool, breaker),
        0,
        "circuits are part of an endpoint"
    );
    // Traffic adds nothing, once this thread knows the endpoints.
    let ask = |pool: &Pool| {
        for random in 0..ENDPOINTS {
            let cx = lb_core::PickCx::new(start(), random);
            let mut lease = pool.pick(&cx).expect("an endpoint");
            lease.record(lb_core::Outcome::Success, start());
        }
    };
    ask(&pool);
    assert_eq!(bytes_each(&pool, ask), 0);
}

/// Any moment will do.
fn start() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "the one place of this test")]
    std::time::Instant::now()
}
