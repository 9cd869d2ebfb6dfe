//! Tiers, zones, subsets, slow start, shadow.

mod common;

use std::time::{Duration, Instant};

use common::{id, picks, random, run, specs, start};
use lb_core::{
    Cause, EndpointSpec, PickCx, Pool,
    policy::{
        ConsistentHash, LeastRequest, PolicyConfig, RoundRobin, Subset, SubsetFallback,
        WeightedRoundRobin, ZoneAware,
    },
};

fn tiers() -> Pool {
    let specs = specs(4)
        .into_iter()
        .enumerate()
        .map(|(i, spec)| spec.priority(i as u32 / 2));
    Pool::builder("test")
        .endpoints(specs)
        .policy(RoundRobin::default())
        .build()
        .expect("good")
}

#[test]
fn the_first_tier_takes_everything_while_it_is_well() {
    let pool = tiers();
    run(&pool, 100);
    assert_eq!(picks(&pool), [50, 50, 0, 0]);
}

#[test]
fn a_half_sick_tier_spills_thirty_per_cent() {
    let pool = tiers();
    pool.mark(&id(0), Cause::Unhealthy, true);
    run(&pool, 10_000);
    let picks = picks(&pool);
    assert_eq!(picks[0], 0);
    assert!((6_700..7_300).contains(&picks[1]), "{picks:?}");
    assert!(picks[2].abs_diff(picks[3]) <= 1, "{picks:?}");
}

#[test]
fn a_dead_tier_leaves_everything_to_the_next_and_a_retry_may_go_there() {
    let pool = tiers();
    let tried = [id(0), id(1)];
    let lease = pool
        .pick(&PickCx::new(start(), 3).tried(&tried))
        .expect("the next tier");
    assert!(lease.endpoint().priority() == 1);
    drop(lease);
    pool.mark(&id(0), Cause::Ejected, true);
    pool.mark(&id(1), Cause::Ejected, true);
    run(&pool, 100);
    assert_eq!(picks(&pool)[..2], [0, 0]);
}

#[test]
fn when_all_tiers_are_sick_health_is_overlooked() {
    let pool = tiers();
    for i in 0..4 {
        pool.mark(&id(i), Cause::Unhealthy, true);
    }
    run(&pool, 100);
    assert_eq!(picks(&pool), [50, 50, 0, 0]);
}

fn zones(local: usize, other: usize) -> Pool {
    let zone = |i: usize| if i < local { "a" } else { "b" };
    let specs = specs(local + other)
        .into_iter()
        .enumerate()
        .map(|(i, spec)| spec.zone(Some(zone(i))));
    let policy = ZoneAware::new("a", RoundRobin::default());
    Pool::builder("test")
        .endpoints(specs)
        .policy(policy)
        .build()
        .expect("good")
}

#[test]
fn requests_stay_in_a_zone_that_carries_its_part() {
    let pool = zones(3, 3);
    run(&pool, 300);
    assert_eq!(picks(&pool), [100, 100, 100, 0, 0, 0]);
}

#[test]
fn a_zone_that_is_too_small_sends_the_rest_elsewhere() {
    let pool = zones(1, 3);
    run(&pool, 10_000);
    let picks = picks(&pool);
    // An even part is 2 endpoints: 1.4 x 1 / 2 = 70 % stay.
    assert!((6_700..7_300).contains(&picks[0]), "{picks:?}");
    pool.mark(&id(0), Cause::Disabled, true);
    run(&pool, 30);
}

#[test]
fn a_sick_zone_among_well_ones_is_no_panic() {
    let pool = zones(4, 4);
    for sick in 1..4 {
        pool.mark(&id(sick), Cause::Unhealthy, true);
    }
    // 5 of 8 are well: health counts, though only 1 of 4 is well in the own zone.
    run(&pool, 1_000);
    let shares = picks(&pool);
    assert_eq!(shares[1..4], [0, 0, 0], "{shares:?}");
    assert!(shares[0] > 0 && shares[4..].iter().all(|n| *n > 0));
    // The control: 3 of 8 are too few, and health is overlooked everywhere.
    pool.mark(&id(4), Cause::Unhealthy, true);
    pool.mark(&id(5), Cause::Unhealthy, true);
    run(&pool, 1_000);
    let later = picks(&pool);
    assert!(later[1] > shares[1], "{later:?}");
}

#[test]
fn a_key_stays_where_it_is_while_part_of_the_traffic_spills_over() {
    let (hash, own) = (ConsistentHash::rendezvous(), 1);
    let by_tier = tiers();
    by_tier.set_policy(hash.clone()).expect("good");
    by_tier.mark(&id(0), Cause::Unhealthy, true);
    let by_zone = zones(own, 3);
    let policy = ZoneAware::new("a", hash);
    by_zone.set_policy(policy).expect("good");
    for pool in [by_tier, by_zone] {
        let owner = |key, lot| {
            let cx = PickCx::new(start(), random(lot)).hash(random(key));
            let lease = pool.pick(&cx).expect("available");
            lease.endpoint().id().clone()
        };
        for key in 0..300 {
            let first = owner(key, 0);
            assert!((1..20).all(|lot| owner(key, lot) == first), "{key}");
        }
        let shares = picks(&pool);
        assert!(shares.iter().filter(|n| **n > 0).count() >= 3, "{shares:?}");
    }
}

fn versions(fallback: SubsetFallback) -> Pool {
    let specs = specs(4)
        .into_iter()
        .enumerate()
        .map(|(i, spec)| spec.metadata("version", (1 + i / 2).to_string()));
    let policy = Subset::by(["version"], LeastRequest::default()).fallback(fallback);
    Pool::builder("test")
        .endpoints(specs)
        .policy(policy)
        .build()
        .expect("good")
}

#[test]
fn a_request_gets_an_endpoint_with_the_facts_it_names() {
    let pool = versions(SubsetFallback::None);
    let wanted = [("version", "2")];
    for i in 0..50 {
        let lease = pool
            .pick(&PickCx::new(start(), random(i)).subset(&wanted))
            .expect("two have it");
        assert_eq!(lease.endpoint().metadata()["version"], "2");
    }
    run(&pool, 400);
    assert!(
        picks(&pool).iter().all(|n| *n > 0),
        "without facts anybody may answer"
    );
}

#[test]
fn who_names_some_of_the_facts_is_shared_among_all_that_have_them_by_weight() {
    let specs = specs(4).into_iter().enumerate().map(|(i, spec)| {
        let spec = spec.metadata("version", if i < 3 { "1" } else { "2" });
        spec.metadata("stage", format!("s{i}"))
            .weight(1 + i as u32 % 2)
    });
    let policy = Subset::by(["version", "stage"], LeastRequest::default());
    let pool = Pool::builder("test")
        .endpoints(specs)
        .policy(policy.fallback(SubsetFallback::None))
        .build()
        .expect("good");
    let wanted = [("version", "1")];
    for i in 0..4_000 {
        let cx = PickCx::new(start(), random(i)).subset(&wanted);
        drop(pool.pick(&cx).expect("three have it"));
    }
    let shares = picks(&pool);
    assert!((900..1_100).contains(&shares[0]), "{shares:?}");
    assert!((1_850..2_150).contains(&shares[1]), "{shares:?}");
    assert_eq!(shares[3], 0, "{shares:?}");
    // The one that is away leaves its part to the others.
    pool.mark(&id(1), Cause::Disabled, true);
    for i in 0..100 {
        let cx = PickCx::new(start(), random(i)).subset(&wanted);
        drop(pool.pick(&cx).expect("two are left"));
    }
    assert_eq!(picks(&pool)[1], shares[1]);
}

#[test]
fn a_subset_without_endpoints_falls_back_as_configured() {
    let wanted = [("version", "9")];
    let cx = PickCx::new(start(), 1).subset(&wanted);
    assert!(versions(SubsetFallback::None).pick(&cx).is_err());
    assert!(versions(SubsetFallback::Any).pick(&cx).is_ok());
}

/// Picks of `e0` among 3,000 requests at `now`.
fn share_of_the_first(pool: &Pool, now: Instant) -> u64 {
    let before = picks(pool)[0];
    for i in 0..3_000 {
        drop(pool.pick(&PickCx::new(now, random(i))).expect("available"));
    }
    picks(pool)[0] - before
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_came_back_grows_into_its_share_under_slow_start() {
    let seconds = Duration::from_secs;
    for policy in [
        PolicyConfig::from(RoundRobin::default()),
        LeastRequest::default().into(),
    ] {
        let pool = Pool::builder("test")
            .endpoints(specs(3))
            .policy(policy)
            .slow_start(seconds(100))
            .build();
        let pool = pool.expect("good");
        tokio::time::advance(seconds(1_000)).await;
        pool.mark(&id(0), Cause::Unhealthy, true);
        pool.mark(&id(0), Cause::Unhealthy, false);
        let back = pool.endpoints()[0].stats().available_since();
        let fresh = share_of_the_first(&pool, back + seconds(1));
        let half = share_of_the_first(&pool, back + seconds(50));
        let grown = share_of_the_first(&pool, back + seconds(100));
        assert!((30..200).contains(&fresh), "{fresh}");
        assert!((300..750).contains(&half), "{half}");
        assert!((900..1_100).contains(&grown), "{grown}");
    }
}

#[test]
fn policies_nest_and_are_switched_under_way() {
    let pool = zones(2, 2);
    pool.set_policy(Subset::by(
        ["version"],
        ZoneAware::new("b", RoundRobin::default()),
    ))
    .expect("good");
    run(&pool, 100);
    assert_eq!(picks(&pool), [0, 0, 50, 50]);
    let spec = EndpointSpec::new("e9", "http://10.0.0.1:9999").zone(Some("b"));
    pool.set_endpoints([spec]).expect("good");
    run(&pool, 10);
}

#[test]
fn a_shadow_policy_shows_how_shares_and_load_would_differ() {
    let spec =
        |name: &str, weight| EndpointSpec::new(name, format!("http://{name}:1")).weight(weight);
    let pool = Pool::builder("test")
        .endpoints([spec("a", 1), spec("b", 3)])
        .policy(RoundRobin::default())
        .build();
    let pool = pool.expect("good");
    assert_eq!(pool.shadow_report(), None);
    pool.set_shadow(Some(WeightedRoundRobin::default().into()))
        .expect("good");
    let now = start();
    let leases: Vec<_> = (0..40)
        .map(|i| pool.pick(&PickCx::new(now, random(i))).expect("available"))
        .collect();
    let report = pool.shadow_report().expect("there is a shadow");
    assert_eq!(report.policy, "weighted_round_robin");
    let counts: Vec<_> = report
        .endpoints
        .iter()
        .map(|it| (it.picks, it.shadow_picks, it.in_flight, it.shadow_in_flight))
        .collect();
    assert_eq!(counts, [(20, 10, 20, 10), (20, 30, 20, 30)]);
    drop(leases);
    let report = pool.shadow_report().expect("there is a shadow");
    assert!(
        report
            .endpoints
            .iter()
            .all(|it| it.shadow_in_flight == 0 && it.in_flight == 0)
    );
    pool.set_shadow(None).expect("good");
    assert_eq!(pool.shadow_report(), None);
}

#[test]
fn a_shadow_follows_members_and_health() {
    let pool = common::pool(3, RoundRobin::default());
    pool.set_shadow(Some(RoundRobin::default().into()))
        .expect("good");
    pool.mark(&id(1), Cause::Unhealthy, true);
    run(&pool, 100);
    pool.set_endpoints(specs(5)).expect("good");
    run(&pool, 100);
    let report = pool.shadow_report().expect("there is a shadow");
    assert_eq!(report.endpoints.len(), 5);
    assert_eq!(report.endpoints[1].shadow_picks, 0);
    assert_eq!(
        report
            .endpoints
            .iter()
            .map(|it| it.shadow_picks)
            .sum::<u64>(),
        200
    );
}
