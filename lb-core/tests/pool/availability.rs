//! Which members may be picked, and how many requests they take.

use lb_core::policy::{LeastRequest, RoundRobin};
use lb_core::pool::{Exclusion, State};
use lb_core::{Cause, PickCx, PickError, Pool};

use crate::common::{id, picks, pool, random, run, specs, start};

#[test]
fn every_cause_alone_keeps_an_endpoint_from_being_picked() {
    for cause in [
        Cause::Draining,
        Cause::Unhealthy,
        Cause::Ejected,
        Cause::Disabled,
    ] {
        let pool = pool(3, LeastRequest::default());
        assert!(pool.mark(&id(1), cause, true));
        run(&pool, 100);
        assert_eq!(picks(&pool)[1], 0, "{cause:?}");
        assert!(pool.mark(&id(1), cause, false));
        run(&pool, 100);
        assert!(picks(&pool)[1] > 0, "{cause:?} was cleared");
    }
}

#[test]
fn causes_are_independent() {
    let pool = pool(2, RoundRobin::default());
    pool.mark(&id(0), Cause::Unhealthy, true);
    pool.set_draining(&id(0), true);
    pool.mark(&id(0), Cause::Unhealthy, false);
    run(&pool, 10);
    assert_eq!(picks(&pool), [0, 10], "it still drains");
    assert_eq!(pool.status().endpoints[0].state, State::Draining);
}

#[test]
fn a_pool_that_loses_most_of_its_health_panics_but_never_ignores_orders() {
    let pool = pool(5, RoundRobin::default());
    for i in 0..3 {
        pool.mark(&id(i), Cause::Unhealthy, true);
    }
    pool.mark(&id(4), Cause::Disabled, true);
    assert!(pool.status().panicking);
    run(&pool, 100);
    let picks = picks(&pool);
    assert_eq!(picks[4], 0, "switched off");
    assert!(picks[..4].iter().all(|n| *n == 25), "{picks:?}");
}

#[test]
fn without_a_panic_threshold_health_always_counts() {
    let pool = Pool::builder("test")
        .endpoints(specs(3))
        .panic_threshold(0.0)
        .build()
        .expect("good");
    for i in 0..3 {
        pool.mark(&id(i), Cause::Ejected, true);
    }
    let refused = pool.pick(&PickCx::new(start(), 1)).err();
    assert_eq!(refused, Some(PickError::NoneAvailable { known: 3 }));
}

#[test]
fn an_endpoint_takes_no_more_requests_than_it_has_room_for() {
    let pool = Pool::builder("test")
        .endpoints(specs(2))
        .max_in_flight(3)
        .build()
        .expect("good");
    let now = start();
    let leases: Vec<_> = (0..6)
        .map(|i| pool.pick(&PickCx::new(now, random(i))).expect("room"))
        .collect();
    assert!(pool.pick(&PickCx::new(now, 9)).is_err());
    assert!(
        pool.endpoints()
            .iter()
            .all(|endpoint| endpoint.stats().in_flight() == 3)
    );
    drop(leases);
    assert!(pool.pick(&PickCx::new(now, 9)).is_ok());
}

#[test]
fn limits_change_under_way_and_lose_no_request() {
    let pool = pool(2, LeastRequest::default());
    let now = start();
    let mut leases: Vec<_> = (0..6)
        .map(|i| pool.pick(&PickCx::new(now, random(i))).expect("no limit"))
        .collect();
    let mut limits = pool.limits();
    limits.requests_per_endpoint = 2;
    pool.set_limits(limits).expect("good");
    assert!(
        pool.pick(&PickCx::new(now, 9)).is_err(),
        "three are above two"
    );
    assert_eq!(leases.len(), 6, "those that run go on");
    leases.truncate(2);
    assert!(
        pool.pick(&PickCx::new(now, 9)).is_ok(),
        "there is room again"
    );
    assert!(pool.set_panic_threshold(1.1).is_err());
    pool.mark(&id(0), Cause::Ejected, true);
    pool.mark(&id(1), Cause::Ejected, true);
    pool.set_panic_threshold(0.0).expect("good");
    assert!(pool.pick(&PickCx::new(now, 9)).is_err(), "health counts");
    pool.set_panic_threshold(0.5).expect("good");
    assert!(
        pool.pick(&PickCx::new(now, 9)).is_ok(),
        "health is overlooked"
    );
}

#[test]
fn a_second_try_goes_elsewhere() {
    let pool = pool(3, RoundRobin::default());
    let tried = [id(0), id(2)];
    for i in 0..20 {
        let lease = pool
            .pick(&PickCx::new(start(), i).tried(&tried))
            .expect("one is left");
        assert_eq!(lease.endpoint().id(), &id(1));
    }
}

#[test]
fn a_binding_outlives_draining_but_not_death_or_restart() {
    let pool = pool(2, RoundRobin::default());
    let cx = PickCx::new(start(), 1);
    pool.set_draining(&id(0), true);
    assert!(pool.pick_bound(&id(0), Some(0), &cx).is_ok());
    assert_eq!(
        pool.pick_bound(&id(0), Some(1), &cx).err(),
        Some(PickError::Unknown)
    );
    pool.mark(&id(0), Cause::Unhealthy, true);
    assert!(matches!(
        pool.pick_bound(&id(0), None, &cx),
        Err(PickError::NoneAvailable { .. })
    ));
}

#[test]
fn an_explanation_names_the_choice_and_every_exclusion_and_moves_nothing() {
    let pool = pool(3, RoundRobin::default());
    pool.set_draining(&id(0), true);
    let tried = [id(1)];
    let cx = PickCx::new(start(), 5).tried(&tried);
    let first = pool.explain(&cx);
    assert_eq!(first, pool.explain(&cx), "nothing moved");
    assert_eq!(first.chosen, Some(id(2)));
    assert_eq!(
        first.opinions[0].excluded,
        [Exclusion::Cause(Cause::Draining)]
    );
    assert_eq!(first.opinions[1].excluded, [Exclusion::Tried]);
    assert_eq!(picks(&pool), [0, 0, 0]);
    assert!(
        first.to_string().starts_with("round_robin picks e2"),
        "{first}"
    );
}
