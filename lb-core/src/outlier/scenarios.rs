//! Whole stories in simulated time: slow endpoints, single routes, changed settings, and
//! the bounds for any history.

use std::time::Duration;

use proptest::prelude::*;

use super::tests::{SECOND, answer, named, out, pass, pool_with};
use super::*;
use crate::endpoint::Cause;
use crate::error::ConfigError;
use crate::pick::PickCx;
use crate::pool::Pool;

fn slow_counts() -> OutlierDetection {
    OutlierDetection::default().slower_than_fleet(Slowness::default())
}

/// Requests of all endpoints for so many seconds, `per_second` each; `took` says how long
/// the request of that number at that endpoint takes. The second in which one was out.
async fn until_out(
    pool: &Pool,
    count: u32,
    (seconds, per_second): (u32, u32),
    took: impl Fn(u32, u32) -> Duration,
) -> Option<u32> {
    for second in 0..seconds {
        for number in 0..per_second {
            for index in 0..count {
                answer(pool, index, true, took(index, second * per_second + number));
            }
        }
        pass(SECOND).await;
        if !out(pool).is_empty() {
            return Some(second + 1);
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_two_seconds_slower_is_out_within_ten_seconds() {
    let took = |index, _| Duration::from_millis(if index == 2 { 2_020 } else { 20 });
    let pool = pool_with(4, slow_counts());
    pass(3 * SECOND).await;
    // One request a second: least request leaves a slow endpoint no more.
    let after = until_out(&pool, 4, (10, 1), took).await;
    assert!(after.is_some_and(|seconds| seconds <= 5), "{after:?}");
    assert_eq!(out(&pool), ["e2"]);
    let watched = pool.outlier().unwrap().watched();
    let ejection = watched[&named(2)].ejection.unwrap();
    assert_eq!(ejection.reason, Reason::Latency);
    let control = pool_with(4, OutlierDetection::default());
    pass(3 * SECOND).await;
    assert_eq!(until_out(&control, 4, (20, 1), took).await, None);
}

#[tokio::test(start_paused = true)]
async fn cancelled_requests_show_a_slow_endpoint_too() {
    let pool = pool_with(3, slow_counts());
    pass(3 * SECOND).await;
    for _ in 0..4 {
        for index in 0..3 {
            answer(&pool, index, true, Duration::from_millis(20));
            // Clients of the last one give up, or a hedge wins.
            let began = crate::clock::now().checked_sub(2 * SECOND).unwrap();
            let id = named(index);
            if index == 2 {
                for _ in 0..20 {
                    let lease = pool.pick_bound(&id, None, &PickCx::new(began, 0));
                    lease
                        .unwrap()
                        .record(crate::Outcome::Cancelled, crate::clock::now());
                }
            }
        }
    }
    pass(2 * SECOND).await;
    assert_eq!(out(&pool), ["e2"]);
}

#[tokio::test(start_paused = true)]
async fn long_requests_among_short_ones_eject_nobody() {
    let pool = pool_with(4, slow_counts());
    pass(3 * SECOND).await;
    // Every tenth takes three seconds, wherever it goes, and the first endpoint gets most.
    let took = |index: u32, number: u32| {
        let long = number.is_multiple_of(10) || (index == 0 && number.is_multiple_of(4));
        Duration::from_millis(if long { 3_000 } else { 20 })
    };
    assert_eq!(until_out(&pool, 4, (30, 20), took).await, None);
}

/// One of ten requests goes to the route that fails at these endpoints.
async fn one_route_fails(pool: &Pool, count: u32, fails_at: impl Fn(u32) -> bool) {
    for round in 0..300_u32 {
        for index in 0..count {
            for request in 0..2 {
                let well = !(round * 2 + request).is_multiple_of(10) || !fails_at(index);
                answer(pool, index, well, Duration::ZERO);
            }
        }
        pass(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_fails_everywhere_ejects_nobody() {
    let pool = pool_with(6, OutlierDetection::default());
    one_route_fails(&pool, 6, |_| true).await;
    let ever = pool.outlier().unwrap().watched();
    assert!(ever.values().all(|one| one.ejections_total == 0));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_fails_on_one_endpoint_only_takes_that_one_out() {
    let pool = pool_with(6, OutlierDetection::default());
    one_route_fails(&pool, 6, |index| index == 4).await;
    let ever = pool.outlier().unwrap().watched();
    let ejected = ever.iter().filter(|(_, one)| one.ejections_total > 0);
    let ids: Vec<_> = ejected.map(|(id, _)| id.to_string()).collect();
    assert_eq!(ids, ["e4"], "its other routes are served elsewhere, too");
}

#[tokio::test(start_paused = true)]
async fn changed_settings_count_from_now_on_and_who_is_out_stays_out() {
    let pool = pool_with(10, OutlierDetection::default());
    let fail = |index| (0..5).for_each(|_| answer(&pool, index, false, Duration::ZERO));
    fail(1);
    fail(2);
    assert_eq!(out(&pool), ["e1"], "one of ten is the share");
    let wider = OutlierDetection::default().max_share(0.3);
    pool.set_outlier(Some(wider)).unwrap();
    pass(2 * SECOND).await;
    assert_eq!(
        out(&pool),
        ["e1", "e2"],
        "the row was complete, and now there is room"
    );
    let wrong = OutlierDetection::default().max_share(3.0);
    let refused = pool.set_outlier(Some(wrong));
    assert!(matches!(refused, Err(ConfigError::Range { .. })));
    pool.set_outlier(None).unwrap();
    assert!(out(&pool).is_empty());
    fail(3);
    assert!(out(&pool).is_empty(), "nobody watches");
    pool.set_outlier(Some(OutlierDetection::default())).unwrap();
    pass(SECOND).await;
    fail(3);
    assert_eq!(out(&pool), ["e3"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens: never more are out than the share, one always stays, and nobody
    /// is out for longer than the longest time.
    #[test]
    fn the_share_and_the_times_hold_for_any_history(
        count in 1_u32..12,
        share in 0.0..1.0_f64,
        steps in prop::collection::vec((0_u32..12, any::<bool>(), 0_u64..3_000, 1_u32..30), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let detection = slow_counts().max_share(share).longest_time(40 * SECOND);
            let pool = pool_with(count, detection);
            let most = ((share * f64::from(count)) as usize).max(1).min(count as usize - 1);
            for (index, well, millis, requests) in steps {
                let took = Duration::from_millis(millis);
                (0..requests).for_each(|_| answer(&pool, index % count, well, took));
                let now_out = out(&pool).len();
                prop_assert!(now_out <= most, "{now_out} of {count}, {most} allowed");
                pass(took.min(SECOND)).await;
                for one in pool.outlier().unwrap().watched().values() {
                    let time = one.ejection.map(|out| out.until.duration_since(out.since));
                    prop_assert!(time.is_none_or(|time| time <= 40 * SECOND));
                }
            }
            // Calm: one after the other, those that found no room before are out at most
            // once, and everybody returns within the longest time and one look.
            for _ in 0..=count {
                (0..count).for_each(|index| answer(&pool, index, true, Duration::ZERO));
                pass(42 * SECOND).await;
            }
            prop_assert!(out(&pool).is_empty());
            let ejected = |it: &std::sync::Arc<crate::Endpoint>| it.stats().has(Cause::Ejected);
            prop_assert!(!pool.endpoints().iter().any(ejected));
            Ok(())
        })?;
    }
}
