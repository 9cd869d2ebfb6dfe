//! Policies that learn from answers: response times and failures; laws of all policies.

mod common;

use std::time::{Duration, Instant};

use common::{id, picks, pool, random, run, specs, start};
use lb_core::{
    Cause, Lease, Outcome, PickCx,
    policy::{
        LeastRequest, LeastResponseTime, PolicyConfig, Prequal, Random, ResourceBased, RoundRobin,
        WeightedRoundRobin,
    },
};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Everything that takes no key.
fn all() -> Vec<PolicyConfig> {
    vec![
        RoundRobin::default().into(),
        WeightedRoundRobin::default().into(),
        Random::default().into(),
        LeastRequest::default().into(),
        LeastRequest::default().scan_up_to(0).into(),
        LeastResponseTime::default().into(),
        ResourceBased::default().into(),
        Prequal::default().into(),
    ]
}

/// A small open queueing run: one request each millisecond; endpoint `bad`
/// fails after 1 ms, the others succeed after 20 ms. Returns the bad one's
/// share of the requests after the first hundred.
fn share_of_the_failing_host(policy: impl Into<PolicyConfig>) -> f64 {
    const N: usize = 20;
    let pool = pool(N, policy);
    let begin = start();
    let mut running: Vec<(Instant, bool, Lease)> = Vec::new();
    let (mut sent, mut failed) = (0u32, 0u32);
    for i in 0..4_000u32 {
        let now = begin + MS * i;
        running.retain_mut(|(end, ok, lease)| {
            let over = *end <= now;
            if over {
                lease.record(
                    if *ok {
                        Outcome::Success
                    } else {
                        Outcome::Failure
                    },
                    *end,
                );
            }
            !over
        });
        let lease = pool
            .pick(&PickCx::new(now, random(u64::from(i))))
            .expect("available");
        let bad = *lease.endpoint().id() == id(0);
        if i >= 100 {
            sent += 1;
            failed += u32::from(bad);
        }
        running.push((now + MS * if bad { 1 } else { 20 }, !bad, lease));
    }
    f64::from(failed) / f64::from(sent)
}

#[test]
fn a_host_that_fails_fast_gets_next_to_nothing() {
    let aware: [PolicyConfig; 5] = [
        LeastRequest::default().into(),
        LeastRequest::default().scan_up_to(0).into(),
        LeastResponseTime::default().into(),
        ResourceBased::default().into(),
        Prequal::default().into(),
    ];
    for policy in aware {
        let share = share_of_the_failing_host(policy.clone());
        assert!(share <= 0.01, "{share} under {policy:?}");
    }
}

/// The control: the scenario does catch policies that take failures for speed.
#[test]
fn without_failure_awareness_the_same_host_attracts_traffic() {
    let blind: [PolicyConfig; 3] = [
        LeastRequest::default().failure_aware(false).into(),
        LeastRequest::default()
            .scan_up_to(0)
            .failure_aware(false)
            .into(),
        LeastResponseTime::default().failure_aware(false).into(),
    ];
    for policy in blind {
        let share = share_of_the_failing_host(policy.clone());
        assert!(share > 0.05, "{share} under {policy:?}");
    }
}

#[test]
fn a_host_that_recovered_gets_its_share_back() {
    let pool = pool(4, LeastRequest::default());
    let now = start();
    for i in 0..40 {
        let mut lease = pool.pick(&PickCx::new(now, random(i))).expect("available");
        let bad = *lease.endpoint().id() == id(0);
        lease.record(
            if bad {
                Outcome::Failure
            } else {
                Outcome::Success
            },
            now + MS,
        );
    }
    let later = now + Duration::from_secs(120);
    let before = picks(&pool)[0];
    for i in 0..400 {
        drop(
            pool.pick(&PickCx::new(later, random(i)))
                .expect("available"),
        );
    }
    assert!(picks(&pool)[0] - before > 60, "{:?}", picks(&pool));
}

#[test]
fn a_slow_endpoint_gets_less_and_a_hung_one_next_to_nothing() {
    for policy in [
        PolicyConfig::from(LeastResponseTime::default()),
        ResourceBased::default().into(),
    ] {
        let pool = pool(3, policy.clone());
        let begin = start();
        let mut running: Vec<(Instant, Lease)> = Vec::new();
        for i in 0..3_000u32 {
            let now = begin + MS * 5 * i;
            running.retain_mut(|(end, lease)| {
                let over = *end <= now;
                if over {
                    lease.record(Outcome::Success, *end);
                }
                !over
            });
            let lease = pool
                .pick(&PickCx::new(now, random(u64::from(i))))
                .expect("available");
            let takes = match lease.endpoint().id().as_str() {
                "e0" => Duration::from_secs(3_600),
                "e1" => MS * 80,
                _ => MS * 10,
            };
            running.push((now + takes, lease));
        }
        let picks = picks(&pool);
        assert!(picks[0] < 60, "hung: {picks:?} under {policy:?}");
        assert!(
            picks[1] * 3 < picks[2] * 2,
            "slow: {picks:?} under {policy:?}"
        );
    }
}

#[test]
fn an_endpoint_that_was_slow_is_tried_again() {
    for policy in [
        PolicyConfig::from(LeastResponseTime::default()),
        ResourceBased::default().into(),
    ] {
        let pool = pool(2, policy.clone());
        let now = start();
        for i in 0..20 {
            let mut lease = pool.pick(&PickCx::new(now, random(i))).expect("available");
            let slow = *lease.endpoint().id() == id(0);
            lease.record(Outcome::Success, now + MS * if slow { 100 } else { 10 });
        }
        let before = picks(&pool)[0];
        for i in 0..1_200 {
            let at = now + MS * 100 * i;
            let mut lease = pool
                .pick(&PickCx::new(at, random(u64::from(i))))
                .expect("available");
            lease.record(Outcome::Success, at + MS * 10);
        }
        let again = picks(&pool)[0] - before;
        assert!(again >= 10, "{again} of 1,200 under {policy:?}");
    }
}

#[test]
fn a_new_endpoint_is_neither_flooded_nor_starved() {
    for policy in [
        PolicyConfig::from(LeastResponseTime::default()),
        ResourceBased::default().into(),
    ] {
        let pool = pool(4, policy);
        let now = start();
        for i in 0..200 {
            let mut lease = pool.pick(&PickCx::new(now, random(i))).expect("available");
            lease.record(Outcome::Success, now + MS * 20);
        }
        pool.set_endpoints(specs(5)).expect("good");
        let leases: Vec<_> = (200..240)
            .map(|i| pool.pick(&PickCx::new(now, random(i))).expect("available"))
            .collect();
        let new = pool.endpoints()[4].stats().in_flight();
        assert!((1..=16).contains(&new), "{new} of {}", leases.len());
    }
}

#[test]
fn one_endpoint_alone_gets_everything_under_every_policy() {
    for policy in all() {
        let pool = pool(1, policy);
        run(&pool, 10);
        assert_eq!(picks(&pool), [10]);
    }
}

#[test]
fn every_policy_works_with_ten_thousand_endpoints() {
    for policy in all() {
        let pool = pool(10_000, policy);
        run(&pool, 1_000);
        assert_eq!(picks(&pool).iter().sum::<u64>(), 1_000);
    }
}

#[test]
fn smooth_weights_hold_under_the_pool_and_follow_changes() {
    let pool = pool(3, WeightedRoundRobin::default());
    for (i, weight) in [5, 1, 1].into_iter().enumerate() {
        pool.set_weight(&id(i), weight);
    }
    run(&pool, 70);
    assert_eq!(picks(&pool), [50, 10, 10]);
    // An unavailable one leaves the others their exact shares.
    pool.set_draining(&id(1), true);
    run(&pool, 60);
    assert_eq!(picks(&pool), [100, 10, 20]);
    // Weights too large for a written cycle are strided.
    pool.set_draining(&id(1), false);
    for (i, weight) in [60_001, 30_011, 7].into_iter().enumerate() {
        pool.set_weight(&id(i), weight);
    }
    let before = picks(&pool);
    run(&pool, 9_000);
    let got: Vec<u64> = picks(&pool)
        .iter()
        .zip(before)
        .map(|(now, then)| now - then)
        .collect();
    assert!(
        got[0].abs_diff(5_999) < 30 && got[1].abs_diff(3_000) < 30 && got[2] <= 3,
        "{got:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Nobody unavailable is picked, unless the pool panics.
    #[test]
    fn no_unavailable_endpoint_is_picked(
        policy in 0usize..8,
        causes in prop::collection::vec(0usize..5, 1..12),
        seed in any::<u64>(),
    ) {
        let pool = pool(causes.len(), all().swap_remove(policy));
        let marks = [None, Some(Cause::Draining), Some(Cause::Unhealthy), Some(Cause::Ejected), Some(Cause::Disabled)];
        for (i, cause) in causes.iter().enumerate() {
            if let Some(cause) = marks[*cause] {
                pool.mark(&id(i), cause, true);
            }
        }
        let panicking = pool.status().panicking;
        for i in 0..60 {
            let Ok(lease) = pool.pick(&PickCx::new(start(), random(seed ^ i))) else {
                let nobody = pool.status().endpoints.iter().all(|endpoint| !endpoint.reasons.is_empty());
                prop_assert!(nobody);
                break;
            };
            let stats = lease.endpoint().stats();
            prop_assert!(!stats.has(Cause::Draining) && !stats.has(Cause::Disabled));
            prop_assert!(panicking || !(stats.has(Cause::Unhealthy) || stats.has(Cause::Ejected)));
        }
    }

    /// In flight returns to zero after any mix of ends.
    #[test]
    fn in_flight_returns_to_zero(policy in 0usize..8, ends in prop::collection::vec(0u8..5, 1..80)) {
        let pool = pool(3, all().swap_remove(policy));
        let now = start();
        let mut held = Vec::new();
        for (i, end) in ends.iter().enumerate() {
            let mut lease = pool.pick(&PickCx::new(now, random(i as u64))).expect("available");
            match end {
                0 => drop(lease),
                1 => lease.record(Outcome::Success, now + MS),
                2 => lease.record(Outcome::Cancelled, now + MS),
                3 => {
                    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                        let _lease = lease;
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }));
                    prop_assert!(panicked.is_err());
                }
                _ => held.push(lease),
            }
        }
        prop_assert_eq!(pool.endpoints().iter().map(|it| it.stats().in_flight() as usize).sum::<usize>(), held.len());
        drop(held);
        prop_assert!(pool.endpoints().iter().all(|it| it.stats().in_flight() == 0 && it.stats().waiting() == 0));
    }
}
