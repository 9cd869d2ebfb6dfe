use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::clock;
use crate::endpoint::{Cause, EndpointSpec, Outcome};
use crate::error::{ConfigError, PickError};
use crate::pick::PickCx;
use crate::policy::RoundRobin;
use crate::pool::{Lease, Pool, PoolBuilder};

const SECOND: Duration = Duration::from_secs(1);

fn builder(count: usize) -> PoolBuilder {
    let specs = (0..count).map(|index| format!("http://10.0.0.{index}:80"));
    Pool::builder("test")
        .endpoints(specs)
        .policy(RoundRobin::default())
}

fn pool_of(count: usize) -> Pool {
    let breaker = CircuitBreaker::default();
    builder(count).breaker(breaker).build().unwrap()
}

fn pick(pool: &Pool) -> Result<Lease, PickError> {
    pool.pick(&PickCx::new(clock::now(), fastrand::u64(..)))
}

/// So many requests in a row end so, wherever they go.
fn answers(pool: &Pool, count: usize, outcome: Outcome) {
    for _ in 0..count {
        pick(pool).unwrap().record(outcome, clock::now());
    }
}

async fn pass(seconds: u32) {
    for _ in 0..seconds {
        tokio::time::advance(SECOND).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_it_and_one_good_trial_closes_it() {
    let pool = pool_of(1);
    answers(&pool, 4, Outcome::Failure);
    answers(&pool, 1, Outcome::Success);
    answers(&pool, 5, Outcome::Overloaded);
    assert!(pick(&pool).is_err(), "it does not panic its way in");
    let status = &pool.status().endpoints[0];
    assert_eq!(status.reasons, [Cause::CircuitOpen]);
    assert_eq!(status.circuit, "open");
    assert!(status.next_trial.unwrap() <= 6 * SECOND);
    pass(6).await;
    answers(&pool, 1, Outcome::Success);
    assert!(pool.status().endpoints[0].reasons.is_empty());
    let control = builder(1).build().unwrap();
    answers(&control, 100, Outcome::Failure);
    assert!(pick(&control).is_ok(), "without a breaker it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_failed_trial_opens_it_for_twice_as_long() {
    let pool = pool_of(1);
    answers(&pool, 5, Outcome::Failure);
    pass(6).await;
    // Also a refusal fails the trial.
    answers(&pool, 1, Outcome::Overloaded);
    pass(8).await;
    assert!(pick(&pool).is_err());
    pass(4).await;
    answers(&pool, 1, Outcome::Success);
    assert!(pick(&pool).is_ok());
}

/// Many threads, many clones, one moment.
#[test]
fn exactly_one_of_all_clones_is_the_trial() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let pool = pool_of(1);
    answers(&pool, 5, Outcome::Failure);
    let later = clock::now() + 6 * SECOND;
    for _ in 0..50 {
        let (admitted, gate) = (AtomicUsize::new(0), std::sync::Barrier::new(8));
        let leases: Vec<_> = std::thread::scope(|scope| {
            let ask = || {
                let pool = pool.clone();
                gate.wait();
                let lease = pool.pick(&PickCx::new(later, 7)).ok();
                admitted.fetch_add(usize::from(lease.is_some()), Ordering::Relaxed);
                lease
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(admitted.into_inner(), 1);
        // Dropped without a word: the next round has its trial.
        drop(leases);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_trial_gives_its_turn_back() {
    let pool = pool_of(1);
    answers(&pool, 5, Outcome::Failure);
    pass(6).await;
    let trial = pick(&pool).unwrap();
    assert_eq!(pool.status().endpoints[0].circuit, "half_open");
    assert!(pick(&pool).is_err(), "one at a time");
    drop(trial);
    let mut second = pick(&pool).unwrap();
    second.record(Outcome::Cancelled, clock::now());
    drop(second);
    answers(&pool, 1, Outcome::Success);
    assert_eq!(pool.status().endpoints[0].circuit, "closed");
}

#[tokio::test(start_paused = true)]
async fn what_began_before_it_opened_does_not_judge_the_trial() {
    let pool = pool_of(1);
    let mut before: Vec<_> = (0..3).map(|_| pick(&pool).unwrap()).collect();
    answers(&pool, 5, Outcome::Failure);
    pass(6).await;
    let mut trial = pick(&pool).unwrap();
    for lease in &mut before {
        lease.record(Outcome::Success, clock::now());
    }
    assert_eq!(pool.status().endpoints[0].circuit, "half_open");
    trial.record(Outcome::Failure, clock::now());
    assert_eq!(pool.status().endpoints[0].circuit, "open");
}

#[tokio::test(start_paused = true)]
async fn an_open_endpoint_leaves_its_share_to_the_others() {
    let pool = pool_of(3);
    let bad = "http://10.0.0.1:80".into();
    let judge = |lease: &mut Lease| {
        let failed = *lease.endpoint().id() == bad;
        let outcome = [Outcome::Success, Outcome::Failure][usize::from(failed)];
        lease.record(outcome, clock::now());
        failed
    };
    let mut failures = 0;
    for _ in 0..60 {
        for _ in 0..30 {
            failures += u32::from(judge(&mut pick(&pool).unwrap()));
        }
        pass(1).await;
    }
    // Five, and one trial after 5, 10, 20 s: of 1,800 requests.
    assert!((6..=9).contains(&failures), "{failures}");
}

#[tokio::test(start_paused = true)]
async fn waking_up_after_a_standstill_opens_nothing() {
    let pool = pool_of(2);
    pass(2).await;
    let mut under_way: Vec<_> = (0..20).map(|_| pick(&pool).unwrap()).collect();
    tokio::time::advance(30 * SECOND).await;
    for lease in &mut under_way {
        lease.record(Outcome::Failure, clock::now());
    }
    let open = |status: &crate::pool::EndpointStatus| status.circuit != "closed";
    assert!(!pool.status().endpoints.iter().any(open));
    pass(1).await;
    answers(&pool, 10, Outcome::Failure);
    assert!(pool.status().endpoints.iter().all(open), "the control");
}

#[tokio::test(start_paused = true)]
async fn a_trial_during_a_standstill_says_nothing_either() {
    let pool = pool_of(1);
    answers(&pool, 5, Outcome::Failure);
    pass(6).await;
    let mut trial = pick(&pool).unwrap();
    tokio::time::advance(30 * SECOND).await;
    trial.record(Outcome::Failure, clock::now());
    drop(trial);
    answers(&pool, 1, Outcome::Success);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_asks_for_no_rest_is_one_failure() {
    let breaker = CircuitBreaker::default().follow_retry_after();
    let pool = builder(1).breaker(breaker).build().unwrap();
    for _ in 0..4 {
        let mut lease = pick(&pool).unwrap();
        lease.record_refusal(Some(Duration::ZERO), clock::now());
    }
    assert_eq!(pool.status().endpoints[0].circuit, "closed");
    answers(&pool, 1, Outcome::Failure);
    assert!(pick(&pool).is_err(), "the fifth");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_says_when_is_followed_if_that_is_wanted() {
    let follow = CircuitBreaker::default().follow_retry_after();
    for (breaker, rests) in [(follow, true), (CircuitBreaker::default(), false)] {
        let pool = builder(1).breaker(breaker).build().unwrap();
        let mut lease = pick(&pool).unwrap();
        lease.record_refusal(Some(20 * SECOND), clock::now());
        assert_eq!(pick(&pool).is_err(), rests);
        pass(19).await;
        assert_eq!(pick(&pool).is_err(), rests);
        pass(2).await;
        assert!(pick(&pool).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_be_changed_and_switched_off_while_it_runs() {
    let pool = builder(1).build().unwrap();
    let quick = CircuitBreaker::default().consecutive_failures(1);
    pool.set_breaker(Some(quick.clone())).unwrap();
    assert_eq!(pool.breaker(), Some(quick));
    answers(&pool, 1, Outcome::Failure);
    assert!(pick(&pool).is_err());
    let wrong = CircuitBreaker::default().open_for(Duration::ZERO);
    assert!(matches!(
        pool.set_breaker(Some(wrong)),
        Err(ConfigError::Range { .. })
    ));
    assert!(pick(&pool).is_err(), "nothing changed");
    pool.set_breaker(None).unwrap();
    answers(&pool, 50, Outcome::Failure);
    assert!(pick(&pool).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_open_endpoint_that_left_and_came_back_is_tried_again() {
    let pool = pool_of(2);
    let held = pick(&pool).unwrap();
    answers(&pool, 10, Outcome::Failure);
    assert!(pick(&pool).is_err());
    let specs = || (0..2).map(|index| format!("http://10.0.0.{index}:80"));
    pool.set_endpoints(Vec::<String>::new()).unwrap();
    pass(1).await;
    pool.set_endpoints(specs()).unwrap();
    pass(10).await;
    for _ in 0..20 {
        pick(&pool).unwrap().record(Outcome::Success, clock::now());
    }
    drop(held);
    let closed = |status: &crate::pool::EndpointStatus| status.circuit == "closed";
    assert!(pool.status().endpoints.iter().all(closed));
}

#[test]
fn a_breaker_needs_a_runtime_and_says_so() {
    let built = builder(1).breaker(CircuitBreaker::default()).build();
    assert!(matches!(built, Err(ConfigError::NoRuntime { .. })));
    let zero = builder(1)
        .limits(UpstreamLimits::default().pending(0))
        .build();
    assert!(matches!(zero, Err(ConfigError::Range { .. })));
}

#[test]
fn the_requests_of_an_upstream_are_limited_exactly_and_given_back() {
    let limits = UpstreamLimits::default().requests(3);
    let pool = builder(2).limits(limits).build().unwrap();
    let mut leases: Vec<_> = (0..3).map(|_| pick(&pool).unwrap()).collect();
    assert!(matches!(pick(&pool), Err(PickError::Full)));
    assert_eq!(
        pool.status()
            .endpoints
            .iter()
            .map(|it| it.in_flight)
            .sum::<u32>(),
        3,
        "a refused request leaves no trace"
    );
    leases.pop();
    assert!(pick(&pool).is_ok());
    pool.set_limits(UpstreamLimits::default().requests_per_endpoint(1))
        .unwrap();
    assert!(pick(&pool).is_err(), "both endpoints have one");
    pool.set_limits(UpstreamLimits::default()).unwrap();
    assert!((0..50).map(|_| pick(&pool)).all(|lease| lease.is_ok()));
}

#[test]
fn places_are_given_back_whatever_happens() {
    let limits = UpstreamLimits::default().pending(3).pending_per_endpoint(2);
    let pool = builder(2).limits(limits).build().unwrap();
    let endpoints = pool.endpoints();
    let take = |at: usize| pool.take_slot(Use::Pending, &endpoints[at]);
    let first = (take(0), take(0));
    assert!(take(0).is_none(), "the endpoint has two");
    let second = take(1).unwrap();
    assert!(take(1).is_none(), "the upstream has three");
    assert_eq!(pool.status().pending, 3);
    drop(first);
    assert!(take(0).is_some());
    drop(second);
    assert_eq!(pool.status().pending, 0);
}

#[test]
fn what_one_endpoint_can_take_of_this_machine_is_bounded_without_being_asked() {
    let pool = builder(1).build().unwrap();
    let endpoint = &pool.endpoints()[0];
    let places = |of| {
        std::iter::from_fn(|| pool.take_slot(of, endpoint))
            .take(20_000)
            .collect::<Vec<_>>()
            .len()
    };
    assert_eq!(places(Use::Pending), 1_024);
    assert_eq!(places(Use::Connection), 16_384);
}

/// The endpoint of one name, restarted so many times.
fn life(incarnation: u64) -> EndpointSpec {
    EndpointSpec::new("a", "http://10.0.0.1:80").incarnation(incarnation)
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_did_shuts_no_later_one_out() {
    let breaker = CircuitBreaker::default();
    let pool = Pool::builder("test").endpoints([life(1)]);
    let pool = pool.breaker(breaker).build().unwrap();
    let earlier: Vec<_> = (0..5).map(|_| pick(&pool).unwrap()).collect();
    pool.set_endpoints([life(2)]).unwrap();
    for mut lease in earlier {
        lease.record(Outcome::Failure, clock::now());
    }
    assert!(pick(&pool).is_ok(), "it has not failed yet");
    answers(&pool, 5, Outcome::Failure);
    assert!(pick(&pool).is_err(), "control");
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_an_earlier_life_decides_nothing_about_a_later_one() {
    let pool = Pool::builder("test").endpoints([life(1)]);
    let pool = pool.breaker(CircuitBreaker::default()).build().unwrap();
    answers(&pool, 5, Outcome::Failure);
    pass(6).await;
    let mut trial = pick(&pool).unwrap();
    pool.set_endpoints([life(2)]).unwrap();
    trial.record(Outcome::Failure, clock::now());
    drop(trial);
    assert!(pick(&pool).is_ok());
}
