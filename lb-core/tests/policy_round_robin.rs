//! Round robin and least request.

mod common;

use common::{id, picks, pool, random, run, start};
use lb_core::{
    PickCx,
    policy::{LeastRequest, PolicyConfig, RoundRobin, WeightedRoundRobin},
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every available endpoint gets exactly one pick per cycle.
    #[test]
    fn round_robin_is_exact_over_a_cycle(n in 1usize..40, cycles in 1u64..5, down in 0usize..40) {
        let pool = pool(n, RoundRobin::default());
        let drained = (n > 1 && down < n).then_some(down);
        if let Some(down) = drained {
            pool.set_draining(&id(down), true);
        }
        let left = n as u64 - u64::from(drained.is_some());
        run(&pool, cycles * left);
        let down = drained.map(id);
        for endpoint in pool.endpoints() {
            let expected = if Some(endpoint.id()) == down.as_ref() { 0 } else { cycles };
            prop_assert_eq!(endpoint.stats().picks_total(), expected);
        }
    }

    /// In flight is never further apart than one.
    #[test]
    fn least_request_levels_what_is_in_flight(n in 1usize..33, requests in 1u64..200) {
        let pool = pool(n, LeastRequest::default());
        let now = start();
        let leases: Vec<_> = (0..requests).map(|i| pool.pick(&PickCx::new(now, random(i))).expect("available")).collect();
        let counts = picks(&pool);
        let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
        prop_assert!(most <= least.map(|n| n + 1), "{:?}", counts);
        drop(leases);
    }
}

#[test]
fn round_robin_starts_at_different_endpoints() {
    let mut first = std::collections::HashSet::new();
    for _ in 0..64 {
        let pool = pool(4, RoundRobin::default());
        first.insert(
            pool.pick(&PickCx::new(start(), 1))
                .expect("available")
                .endpoint()
                .id()
                .clone(),
        );
    }
    assert!(first.len() > 1, "64 pools all started at {first:?}");
}

#[test]
fn idle_equal_endpoints_share_evenly_under_least_request() {
    for scan_up_to in [0, 32] {
        let pool = pool(8, LeastRequest::default().scan_up_to(scan_up_to));
        run(&pool, 16_000);
        assert!(
            picks(&pool).iter().all(|n| (1_800..2_200).contains(n)),
            "{:?}",
            picks(&pool)
        );
    }
}

#[test]
fn idle_endpoints_share_by_weight_under_least_request() {
    for scan_up_to in [0, 32] {
        let pool = pool(3, LeastRequest::default().scan_up_to(scan_up_to));
        for (i, weight) in [1, 2, 5].into_iter().enumerate() {
            pool.set_weight(&id(i), weight);
        }
        run(&pool, 16_000);
        let picks = picks(&pool);
        assert!(
            (1_800..2_200).contains(&picks[0]) && (9_500..10_500).contains(&picks[2]),
            "{picks:?}"
        );
    }
}

#[test]
fn held_requests_spread_by_weight_under_least_request() {
    let pool = pool(3, LeastRequest::default());
    for (i, weight) in [1, 2, 5].into_iter().enumerate() {
        pool.set_weight(&id(i), weight);
    }
    let now = start();
    let leases: Vec<_> = (0..80)
        .map(|i| pool.pick(&PickCx::new(now, random(i))).expect("available"))
        .collect();
    let picks = picks(&pool);
    assert!(
        picks[0].abs_diff(10) <= 1 && picks[1].abs_diff(20) <= 1 && picks[2].abs_diff(50) <= 2,
        "{picks:?}"
    );
    drop(leases);
}

/// First tries with second tries after some of them; how often each endpoint was
/// chosen at first.
fn first_tries_among_retries(policy: impl Into<PolicyConfig>, weights: &[u32]) -> Vec<u64> {
    let pool = pool(weights.len(), policy);
    for (i, weight) in weights.iter().enumerate() {
        pool.set_weight(&id(i), *weight);
    }
    let cycle: u32 = weights.iter().sum();
    let now = start();
    let mut first = vec![0; weights.len()];
    for i in 0..u64::from(cycle) * 50 {
        let lease = pool.pick(&PickCx::new(now, random(i))).expect("available");
        let name = lease.endpoint().id().clone();
        let at = (0..weights.len())
            .find(|at| id(*at) == name)
            .expect("a member");
        first[at] += 1;
        // Whatever goes to the first endpoint fails there and is tried again.
        if at == 0 {
            let tried = [name];
            let cx = PickCx::new(now, random(i + 1_000_000)).tried(&tried);
            let second = pool.pick(&cx).expect("available");
            assert_ne!(second.endpoint().id(), &tried[0]);
        }
    }
    first
}

#[test]
fn retries_do_not_bend_the_rotation() {
    let first = first_tries_among_retries(RoundRobin::default(), &[1, 1, 1, 1]);
    assert_eq!(first, [50, 50, 50, 50]);
    let first = first_tries_among_retries(WeightedRoundRobin::default(), &[5, 2, 1]);
    assert_eq!(first, [250, 100, 50]);
}

#[test]
fn second_tries_go_elsewhere_by_weight() {
    let pool = pool(3, WeightedRoundRobin::default());
    pool.set_weight(&id(1), 9);
    let tried = [id(0)];
    for i in 0..1_000 {
        let cx = PickCx::new(start(), random(i)).tried(&tried);
        drop(pool.pick(&cx).expect("available"));
    }
    let picks = picks(&pool);
    assert_eq!(picks[0], 0);
    assert!((860..=940).contains(&picks[1]), "nine in ten: {picks:?}");
}

/// Many light endpoints and a heavy one: nearly every turn of a stride is nobody's.
#[test]
fn one_heavy_endpoint_among_many_light_ones_gets_its_share_and_they_theirs() {
    let pool = pool(400, WeightedRoundRobin::default());
    pool.set_weight(&id(7), 4_000);
    run(&pool, 10_000);
    let heavy = pool.endpoint(&id(7)).expect("a member");
    let share = heavy.stats().picks_total();
    // 4,000 of 4,399.
    assert!((8_900..9_300).contains(&share), "{share} of 10,000");
    let most = picks(&pool).into_iter().filter(|n| *n != share).max();
    assert!(most < Some(20), "{most:?} where 2 are fair");
}
