//! Consistent hashing: placement, movement, bounds.

mod common;

use common::{id, picks, pool, random, specs, start};
use lb_core::{
    Cause, EndpointSpec, PickCx, Pool,
    policy::{ConsistentHash, HashAlgorithm, MaglevTable},
};
use proptest::prelude::*;

const KEYS: u64 = 2_000;

fn owner(pool: &Pool, key: u64) -> String {
    let lease = pool
        .pick(&PickCx::new(start(), key).hash(random(key)))
        .expect("available");
    lease.endpoint().id().to_string()
}

fn owners(pool: &Pool) -> Vec<String> {
    (0..KEYS).map(|key| owner(pool, key)).collect()
}

fn all() -> [ConsistentHash; 4] {
    [
        ConsistentHash::ring(160),
        ConsistentHash::ketama(),
        ConsistentHash::maglev(),
        ConsistentHash::rendezvous(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Ring, ketama and rendezvous: losing an endpoint moves its keys and no others.
    #[test]
    fn only_the_lost_endpoints_keys_move(n in 2usize..12, lost in 0usize..12) {
        let lost = lost % n;
        for policy in [ConsistentHash::ring(160), ConsistentHash::ketama(), ConsistentHash::rendezvous()] {
            let pool = pool(n, policy);
            let before = owners(&pool);
            let mut left = specs(n);
            left.remove(lost);
            pool.set_endpoints(left).expect("good");
            for (before, after) in before.iter().zip(owners(&pool)) {
                prop_assert!(*before == after || *before == id(lost).as_str(), "{} moved to {}", before, after);
            }
        }
    }

    /// With a bound nobody has more than that multiple of the fair share.
    #[test]
    fn no_endpoint_is_above_its_bound(n in 1usize..12, requests in 1u64..150, hot in 0u64..20) {
        for policy in all() {
            let pool = pool(n, policy.bound(1.25));
            let now = start();
            let mut leases = Vec::new();
            for i in 0..requests {
                // Few keys, so that some endpoints are much wanted.
                let cx = PickCx::new(now, random(i)).hash(random(i % (hot + 1)));
                leases.push(pool.pick(&cx).expect("available"));
                let most = (1.25 * (i + 1) as f64 / n as f64).ceil() as u32;
                for endpoint in pool.endpoints() {
                    prop_assert!(endpoint.stats().in_flight() <= most);
                }
            }
        }
    }

    /// Maglev spreads evenly and a loss moves little more than it must.
    #[test]
    fn maglev_moves_at_most_a_point_and_a_half_too_much(n in 2usize..40, lost in 0usize..40) {
        let lost = lost % n;
        let names: Vec<String> = (0..n).map(|i| format!("10.0.0.{i}:8000")).collect();
        let size = 65_537;
        let before = MaglevTable::new(names.iter().map(|name| (name.as_str(), 1)), size);
        let fewer: Vec<_> = names.iter().enumerate().filter(|(i, _)| *i != lost).collect();
        let after = MaglevTable::new(fewer.iter().map(|(_, name)| (name.as_str(), 1)), size);
        let moved = before.places().iter().zip(after.places())
            .filter(|(old, new)| **old as usize != fewer[**new as usize].0).count();
        let share = moved as f64 / f64::from(size);
        prop_assert!(share <= 1.0 / n as f64 + 0.015, "{} moved of {}", share, n);
    }
}

#[test]
fn a_bound_is_exact_for_weights_that_do_not_divide_well() {
    for (weight, multiple) in [(7, 1.0), (11, 1.0), (11, 1.25), (14, 1.5)] {
        let pool = pool(2, ConsistentHash::maglev().bound(multiple));
        (0..2).for_each(|i| assert!(pool.set_weight(&id(i), weight)));
        let mut leases = Vec::new();
        for requests in 1..=80_u32 {
            let cx = PickCx::new(start(), 7).hash(1);
            leases.push(pool.pick(&cx).expect("available"));
            // Half of that multiple, in quarters.
            let quarters = (multiple * 4.0) as u32 * requests;
            for endpoint in pool.endpoints() {
                let most = quarters.div_ceil(8);
                assert!(endpoint.stats().in_flight() <= most, "{weight} {requests}");
            }
        }
    }
}

#[test]
fn an_unavailable_endpoints_keys_come_back_to_it() {
    for policy in all() {
        let pool = pool(5, policy);
        let before = owners(&pool);
        pool.mark(&id(2), Cause::Unhealthy, true);
        let meanwhile = owners(&pool);
        assert!(meanwhile.iter().all(|owner| owner != "e2"));
        let kept = before
            .iter()
            .zip(&meanwhile)
            .filter(|(a, b)| a == b)
            .count();
        assert_eq!(
            kept,
            before.iter().filter(|owner| *owner != "e2").count(),
            "other keys stay"
        );
        pool.mark(&id(2), Cause::Unhealthy, false);
        assert_eq!(before, owners(&pool));
    }
}

#[test]
fn two_gateways_agree_whatever_the_order_of_their_lists() {
    for policy in all() {
        let one = pool(6, policy.clone());
        let mut reversed = specs(6);
        reversed.reverse();
        let other = Pool::builder("other")
            .endpoints(reversed)
            .policy(policy)
            .build()
            .expect("good");
        assert_eq!(owners(&one), owners(&other));
    }
}

#[test]
fn weights_set_the_share_of_keys() {
    for policy in all() {
        let heavy = EndpointSpec::new("heavy", "http://10.0.0.9:1").weight(3);
        let light = EndpointSpec::new("light", "http://10.0.0.8:1").weight(1);
        let none = EndpointSpec::new("none", "http://10.0.0.7:1").weight(0);
        let pool = Pool::builder("test")
            .endpoints([heavy, light, none])
            .policy(policy)
            .build()
            .expect("good");
        let owners = owners(&pool);
        let share = owners.iter().filter(|owner| *owner == "heavy").count() as f64 / KEYS as f64;
        assert!(
            (0.68..0.82).contains(&share),
            "{share} under {:?}",
            pool.policy()
        );
        assert!(owners.iter().all(|owner| owner != "none"));
    }
}

#[test]
fn hash_policies_survive_ten_thousand_endpoints() {
    for policy in [ConsistentHash::maglev(), ConsistentHash::ring(16)] {
        let pool = pool(10_000, policy);
        common::run(&pool, 2_000);
        assert_eq!(picks(&pool).iter().sum::<u64>(), 2_000);
    }
}

#[test]
fn a_table_of_any_size_is_filled_and_leaves_nobody_out() {
    for size in 0..40 {
        let names: Vec<String> = (0..4).map(|i| format!("10.0.0.{i}:8000")).collect();
        let table = MaglevTable::new(names.iter().map(|name| (name.as_str(), 1)), size);
        let mut turns = [0_u32; 4];
        for owner in table.places() {
            turns[*owner as usize] += 1;
        }
        let (least, most) = (size / 4, size.div_ceil(4));
        assert!(
            turns.iter().all(|n| (least..=most).contains(n)),
            "{size}: {turns:?}"
        );
        assert_eq!(table.owner(7).is_some(), size > 0);
    }
}

#[test]
fn settings_that_cannot_work_are_errors() {
    let with = |algorithm| {
        let mut policy = ConsistentHash::default();
        policy.algorithm = algorithm;
        Pool::builder("test").policy(policy).build().is_err()
    };
    assert!(
        with(HashAlgorithm::Maglev { table_size: 65_536 }),
        "not a prime"
    );
    assert!(with(HashAlgorithm::Maglev { table_size: 0 }));
    assert!(with(HashAlgorithm::Ring { points: 0 }));
    assert!(
        Pool::builder("test")
            .policy(ConsistentHash::maglev().bound(0.5))
            .build()
            .is_err()
    );
    assert!(
        Pool::builder("test")
            .policy(ConsistentHash::maglev().bound(f64::NAN))
            .build()
            .is_err()
    );
}
