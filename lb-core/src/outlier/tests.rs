use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::clock;
use crate::endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Observation, Outcome};
use crate::error::ConfigError;
use crate::pick::PickCx;
use crate::pool::{Pool, PoolBuilder};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn named(index: u32) -> EndpointId {
    EndpointId::from(format!("e{index}"))
}

fn members(count: u32) -> Vec<EndpointSpec> {
    let spec = |index| EndpointSpec::new(named(index), format!("http://10.0.0.{index}:80"));
    (0..count).map(spec).collect()
}

pub(super) fn pool_with(count: u32, detection: OutlierDetection) -> Pool {
    let pool = Pool::builder("test").endpoints(members(count));
    pool.outlier(detection).build().unwrap()
}

fn pool_of(count: u32) -> Pool {
    pool_with(count, OutlierDetection::default())
}

/// The control: the same pool with nobody watching.
fn unwatched(count: u32) -> Pool {
    Pool::builder("test")
        .endpoints(members(count))
        .build()
        .unwrap()
}

/// One request at this very endpoint, available or not, that took so long.
pub(super) fn answer(pool: &Pool, index: u32, well: bool, took: Duration) {
    let now = clock::now();
    let began = now.checked_sub(took).unwrap_or(now);
    let cx = PickCx::new(began, 0);
    let Ok(mut lease) = pool.pick_bound(&named(index), None, &cx) else {
        return;
    };
    let outcome = if well {
        Outcome::Success
    } else {
        Outcome::Failure
    };
    lease.record(outcome, now);
}

fn fail(pool: &Pool, index: u32, times: u32) {
    (0..times).for_each(|_| answer(pool, index, false, Duration::ZERO));
}

pub(super) fn out(pool: &Pool) -> Vec<String> {
    let ejected = pool.endpoints().into_iter();
    let ejected = ejected.filter(|endpoint| endpoint.stats().has(Cause::Ejected));
    ejected.map(|endpoint| endpoint.id().to_string()).collect()
}

fn watched(pool: &Pool, index: u32) -> Watched {
    pool.outlier().unwrap().watched()[&named(index)]
}

/// Lets the detector run for so long in paused time.
pub(super) async fn pass(time: Duration) {
    let step = Duration::from_millis(100);
    for _ in 0..time.as_millis() / step.as_millis() {
        tokio::time::advance(step).await;
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
}

/// Twenty requests a second to each endpoint; `well` says how each ends.
async fn traffic(pool: &Pool, count: u32, seconds: u32, well: impl Fn(u32, u32) -> bool) {
    for round in 0..seconds * 10 {
        for index in 0..count {
            for request in [2 * round, 2 * round + 1] {
                answer(pool, index, well(index, request), Duration::ZERO);
            }
        }
        pass(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_eject_at_once_and_time_brings_it_back() {
    let pool = pool_of(3);
    fail(&pool, 1, 4);
    assert!(out(&pool).is_empty(), "four are not five");
    fail(&pool, 1, 1);
    assert_eq!(out(&pool), ["e1"]);
    let ejection = watched(&pool, 1).ejection.unwrap();
    assert_eq!(ejection.reason, Reason::ConsecutiveFailures);
    assert_eq!(ejection.until.duration_since(ejection.since), 30 * SECOND);
    pass(29 * SECOND).await;
    assert_eq!(out(&pool), ["e1"]);
    pass(2 * SECOND).await;
    assert!(out(&pool).is_empty());
    let control = unwatched(3);
    fail(&control, 1, 50);
    assert!(out(&control).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_success_or_a_cancelled_request_is_no_failure() {
    let pool = pool_of(3);
    for _ in 0..5 {
        fail(&pool, 1, 4);
        answer(&pool, 1, true, Duration::ZERO);
    }
    for _ in 0..20 {
        let now = clock::now();
        let mut lease = pool
            .pick_bound(&named(2), None, &PickCx::new(now, 0))
            .unwrap();
        lease.record(Outcome::Cancelled, now);
    }
    assert!(out(&pool).is_empty());
    assert_eq!(watched(&pool, 1).success_rate.requests, 25);
    assert_eq!(watched(&pool, 2).success_rate.requests, 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_count_unless_they_are_to_be_ignored() {
    for (detection, ejected) in [
        (OutlierDetection::default(), 1),
        (OutlierDetection::default().ignore_overload(), 0),
    ] {
        let pool = pool_with(3, detection);
        for _ in 0..5 {
            let now = clock::now();
            let mut lease = pool
                .pick_bound(&named(0), None, &PickCx::new(now, 0))
                .unwrap();
            lease.record(Outcome::Overloaded, now);
        }
        assert_eq!(out(&pool).len(), ejected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flapping_endpoint_is_out_longer_every_time_until_it_stays_well() {
    let pool = pool_of(3);
    for lasts in [30, 60, 90] {
        fail(&pool, 0, 5);
        let ejection = watched(&pool, 0).ejection.unwrap();
        assert_eq!(ejection.until - ejection.since, lasts * SECOND);
        pass(lasts * SECOND + 2 * SECOND).await;
        assert!(out(&pool).is_empty());
    }
    assert_eq!(watched(&pool, 0).ejections_total, 3);
    traffic(&pool, 3, 40, |_, _| true).await;
    assert_eq!(watched(&pool, 0).ejections, 0, "forgiven");
    fail(&pool, 0, 5);
    let ejection = watched(&pool, 0).ejection.unwrap();
    assert_eq!(ejection.until - ejection.since, 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_half_failing_endpoint_is_found_by_comparison_with_the_fleet() {
    let half = |index, round: u32| index != 4 || round.is_multiple_of(2);
    let alone = OutlierDetection::default().deviation(Deviation::new(1.9, usize::MAX, 100));
    let control = pool_with(10, alone);
    traffic(&control, 10, 12, half).await;
    assert!(
        out(&control).is_empty(),
        "no row of five, nothing to compare"
    );
    let pool = pool_of(10);
    traffic(&pool, 10, 12, half).await;
    assert_eq!(out(&pool), ["e4"]);
    let ejection = watched(&pool, 4).ejection.unwrap();
    assert_eq!(ejection.reason, Reason::SuccessRate);
}

#[tokio::test(start_paused = true)]
async fn in_a_small_pool_the_share_of_failures_speaks() {
    let half = |index, round: u32| index != 1 || round % 5 < 2;
    let pool = pool_with(3, OutlierDetection::default().failure_share(0.5, 50));
    traffic(&pool, 3, 8, half).await;
    assert_eq!(out(&pool), ["e1"]);
    assert_eq!(
        watched(&pool, 1).ejection.unwrap().reason,
        Reason::FailureShare
    );
    let control = pool_of(3);
    traffic(&control, 3, 8, half).await;
    assert!(out(&control).is_empty(), "60 % is less than 85 %");
}

#[tokio::test(start_paused = true)]
async fn nearly_equal_endpoints_are_left_alone() {
    let pool = pool_of(10);
    traffic(&pool, 10, 20, |index, round| index != 4 || round % 25 != 0).await;
    assert!(out(&pool).is_empty(), "4 % of failures");
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_no_more_than_the_share_is_out() {
    let (mut most, count) = (0, 30);
    let pool = pool_of(count);
    for _ in 0..60 {
        (0..count).for_each(|index| fail(&pool, index, 7));
        most = most.max(out(&pool).len());
        pass(SECOND).await;
        most = most.max(out(&pool).len());
    }
    assert_eq!(most, 3);
    assert!(!pool.status().panicking);
    let wide = OutlierDetection::default().max_share(1.0);
    let control = pool_with(count, wide);
    (0..count).for_each(|index| fail(&control, index, 7));
    assert_eq!(out(&control).len(), 29, "all but the last one");
    assert!(control.status().panicking, "the pool overlooks it");
    assert!(control.pick(&PickCx::new(clock::now(), 1)).is_ok());
}

#[tokio::test]
async fn the_share_holds_when_all_fail_on_many_threads_at_once() {
    let pool = pool_with(20, OutlierDetection::default().max_share(0.2));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..2_000 {
                    fail(pool, (round + thread * 5) % 20, 5);
                    assert!(out(pool).len() <= 4);
                }
            });
        }
    });
    assert_eq!(out(&pool).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_last_available_endpoint_is_never_ejected() {
    let alone = pool_of(1);
    fail(&alone, 0, 50);
    assert!(out(&alone).is_empty());
    let pool = pool_of(2);
    pool.set_draining(&named(1), true);
    fail(&pool, 0, 50);
    assert!(out(&pool).is_empty());
    pool.set_draining(&named(1), false);
    pass(2 * SECOND).await;
    assert_eq!(out(&pool), ["e0"], "its row is still complete");
}

#[tokio::test(start_paused = true)]
async fn waking_up_from_a_suspend_ejects_nobody() {
    let wide = || OutlierDetection::default().max_share(1.0);
    let pool = pool_with(5, wide());
    traffic(&pool, 5, 5, |_, _| true).await;
    // Nothing ran for a minute: every request under way has timed out.
    tokio::time::advance(60 * SECOND).await;
    let burst = |pool: &Pool| {
        for index in 0..5 {
            (0..10).for_each(|_| answer(pool, index, false, 58 * SECOND));
        }
    };
    burst(&pool);
    pass(2 * SECOND).await;
    burst(&pool);
    pass(2 * SECOND).await;
    assert!(out(&pool).is_empty());
    // The control: the same failures of requests that began since.
    (0..5).for_each(|index| fail(&pool, index, 10));
    assert_eq!(out(&pool).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn another_life_begins_without_the_verdict() {
    let pool = pool_of(3);
    fail(&pool, 0, 5);
    let mut specs = members(3);
    specs[0] = specs[0].clone().incarnation(1);
    pool.set_endpoints(specs).unwrap();
    assert!(out(&pool).is_empty());
    pass(2 * SECOND).await;
    assert_eq!(watched(&pool, 0).ejection, None);
    fail(&pool, 0, 5);
    assert_eq!(out(&pool), ["e0"], "and is watched itself");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_detector_takes_its_verdicts_back() {
    let pool = unwatched(3);
    let detector = OutlierDetection::default().start(&pool).unwrap();
    fail(&pool, 0, 5);
    assert_eq!(out(&pool), ["e0"]);
    drop(detector);
    assert!(out(&pool).is_empty());
    fail(&pool, 0, 50);
    assert!(out(&pool).is_empty(), "nobody watches");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_observer_costs_its_own_observation_only() {
    let told = Arc::new(AtomicU32::new(0));
    let panics = |_: &Endpoint, _: &Observation| panic!("a bug of the embedder");
    let counts = {
        let told = Arc::clone(&told);
        move |_: &Endpoint, _: &Observation| {
            told.fetch_add(1, Ordering::SeqCst);
        }
    };
    let pool: PoolBuilder = Pool::builder("test").endpoints(members(3));
    let pool = pool.observe(Told(panics)).observe(Told(counts));
    let pool = pool.outlier(OutlierDetection::default()).build().unwrap();
    fail(&pool, 0, 5);
    assert_eq!(told.load(Ordering::SeqCst), 5);
    assert_eq!(out(&pool), ["e0"]);
    assert_eq!(pool.endpoint(&named(0)).unwrap().stats().in_flight(), 0);
}

struct Told<F>(F);

impl<F: Fn(&Endpoint, &Observation) + Send + Sync + 'static> crate::endpoint::Observer for Told<F> {
    fn observed(&self, endpoint: &Endpoint, observation: &Observation) {
        (self.0)(endpoint, observation);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_always_fails_costs_five_requests_per_ejection() {
    let failures = |pool: Pool| async move {
        let mut failures = 0;
        for _ in 0..1_000 {
            let (now, random) = (clock::now(), fastrand::u64(..));
            let mut lease = pool.pick(&PickCx::new(now, random)).unwrap();
            let ill = *lease.endpoint().id() == named(3);
            let outcome = [Outcome::Success, Outcome::Failure][usize::from(ill)];
            lease.record(outcome, now);
            failures += u32::from(ill);
            drop(lease);
            pass(SECOND / 10).await;
        }
        failures
    };
    // In 100 s it is out for 30 and 60 s.
    let pool = Pool::builder("test").endpoints(members(10));
    let pool = pool.policy(crate::policy::RoundRobin::default());
    let pool = pool.outlier(OutlierDetection::default()).build().unwrap();
    let watched = failures(pool).await;
    assert!((10..=15).contains(&watched), "{watched}");
    let control = Pool::builder("test").endpoints(members(10));
    let control = control.policy(crate::policy::RoundRobin::default());
    assert_eq!(failures(control.build().unwrap()).await, 100);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let pool = unwatched(1);
    for detection in [
        OutlierDetection::default().consecutive_failures(0),
        OutlierDetection::default().interval(Duration::ZERO),
        OutlierDetection::default().base_time(Duration::ZERO),
        OutlierDetection::default().longest_time(SECOND),
        OutlierDetection::default().max_share(f64::NAN),
        OutlierDetection::default().failure_share(1.5, 1),
        OutlierDetection::default().deviation(Deviation::new(f64::NAN, 5, 100)),
        OutlierDetection::default().deviation(Deviation::new(-1.0, 5, 100)),
    ] {
        let refused = detection.start(&pool).unwrap_err();
        assert!(matches!(refused, ConfigError::Range { .. }), "{refused}");
    }
}

#[test]
fn who_fails_nothing_has_no_share_that_is_too_large() {
    let detection = OutlierDetection::default().failure_share(0.0, 10);
    let rates = [1.0, 1.0, 0.99].map(|rate| SuccessRate {
        rate,
        requests: 100,
    });
    assert_eq!(detection.suspects(&rates, &[]), [(2, Reason::FailureShare)]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    /// Whatever happens, no more than the share is out, and one is left.
    #[test]
    fn never_more_than_the_share(
        count in 1_u32..25,
        share in 0.0..1.0_f64,
        steps in proptest::collection::vec((0_u32..25, 0_u32..12, 0_u64..20), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let detection = OutlierDetection::default().max_share(share).base_time(SECOND);
            let pool = pool_with(count, detection);
            let limit = ((share * f64::from(count)) as usize).max(1).min(count as usize - 1);
            for (index, failures, pause) in steps {
                fail(&pool, index % count, failures);
                assert!(out(&pool).len() <= limit);
                pass(SECOND * pause as u32 / 10).await;
                assert!(out(&pool).len() <= limit);
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_did_does_not_eject_a_later_one() {
    let pool = pool_of(2);
    let cx = PickCx::new(clock::now(), 0);
    let pick = || pool.pick_bound(&named(1), None, &cx).unwrap();
    let earlier: Vec<_> = (0..5).map(|_| pick()).collect();
    let restarted = members(2).into_iter().map(|spec| spec.incarnation(7));
    pool.set_endpoints(restarted).unwrap();
    for mut lease in earlier {
        lease.record(Outcome::Failure, clock::now());
    }
    assert!(out(&pool).is_empty());
    pass(2 * SECOND).await;
    assert!(out(&pool).is_empty());
    fail(&pool, 1, 5);
    assert_eq!(out(&pool), ["e1"], "control");
}

#[test]
fn so_many_per_cent_of_a_hundred_are_so_many() {
    for percent in 1..=100_u32 {
        let detection = OutlierDetection::default().max_share(f64::from(percent) / 100.0);
        assert_eq!(detection.room(100), percent as usize);
    }
    assert_eq!(OutlierDetection::default().max_share(0.0).room(100), 1);
}

#[tokio::test(start_paused = true)]
async fn shorter_looks_begin_when_they_are_set() {
    let detection = OutlierDetection::default().max_share(1.0);
    let detection = detection.base_time(SECOND).longest_time(SECOND);
    let pool = pool_with(3, detection.clone().interval(3_600 * SECOND));
    pass(9 * SECOND).await;
    fail(&pool, 0, 5);
    assert_eq!(out(&pool), ["e0"]);
    pool.set_outlier(Some(detection)).unwrap();
    fail(&pool, 1, 5);
    assert_eq!(out(&pool), ["e0", "e1"], "what ends now counts");
    pass(3 * SECOND).await;
    assert!(out(&pool).is_empty(), "let back in time");
}
