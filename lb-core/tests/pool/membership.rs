//! Who is a member, and what becomes of its counters.

use lb_core::policy::{LeastRequest, RoundRobin};
use lb_core::{ConfigError, EndpointSpec, PickCx, PickError, Pool};

use crate::common::{id, pool, specs, start};

#[test]
fn an_empty_pool_says_so() {
    let pool = pool(0, RoundRobin::default());
    assert_eq!(
        pool.pick(&PickCx::new(start(), 1)).err(),
        Some(PickError::Empty)
    );
}

#[test]
fn a_pool_of_zero_weights_refuses_without_panic() {
    let pool = pool(3, LeastRequest::default());
    for i in 0..3 {
        assert!(pool.set_weight(&id(i), 0));
    }
    let refused = pool.pick(&PickCx::new(start(), 1)).err();
    assert_eq!(refused, Some(PickError::NoneAvailable { known: 3 }));
}

#[test]
fn of_two_specs_with_one_name_the_newer_incarnation_counts() {
    let newer = EndpointSpec::new("a", "http://10.0.0.2:1").incarnation(2);
    let older = EndpointSpec::new("a", "http://10.0.0.1:1").incarnation(1);
    let pool = Pool::builder("test")
        .endpoints([newer, older])
        .build()
        .expect("good");
    assert_eq!(pool.endpoints().len(), 1);
    assert_eq!(pool.endpoints()[0].incarnation(), 2);
}

#[test]
fn a_bad_address_is_an_error_and_changes_nothing() {
    let pool = pool(2, RoundRobin::default());
    for bad in ["", "no scheme", "/only/a/path", "http://"] {
        let result = pool.set_endpoints([EndpointSpec::new("x", bad)]);
        assert!(matches!(result, Err(ConfigError::Uri { .. })), "{bad:?}");
    }
    assert_eq!(pool.endpoints().len(), 2);
}

#[test]
fn counters_survive_changes_of_weight_policy_and_membership() {
    let pool = pool(2, RoundRobin::default());
    let lease = pool.pick(&PickCx::new(start(), 1)).expect("available");
    let held = lease.endpoint().id().clone();
    pool.set_weight(&held, 7);
    pool.set_policy(LeastRequest::default()).expect("good");
    pool.set_endpoints(specs(5)).expect("good");
    let endpoint = pool.endpoint(&held).expect("still a member");
    assert_eq!(endpoint.stats().in_flight(), 1);
    assert_eq!(endpoint.weight(), 1, "the new set names weight 1");
    drop(lease);
    assert_eq!(endpoint.stats().in_flight(), 0);
}

#[test]
fn a_member_that_left_and_came_back_finds_its_running_requests() {
    let pool = pool(1, RoundRobin::default());
    let lease = pool.pick(&PickCx::new(start(), 1)).expect("available");
    pool.set_endpoints(Vec::<EndpointSpec>::new())
        .expect("good");
    assert_eq!(
        pool.pick(&PickCx::new(start(), 1)).err(),
        Some(PickError::Empty)
    );
    pool.set_endpoints(specs(1)).expect("good");
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 1);
    drop(lease);
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
}

#[test]
fn a_restart_under_the_same_name_begins_anew() {
    let pool = pool(1, RoundRobin::default());
    let lease = pool.pick(&PickCx::new(start(), 1)).expect("available");
    let restarted = specs(1).remove(0).incarnation(1);
    pool.set_endpoints([restarted]).expect("good");
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
    drop(lease);
    assert_eq!(
        pool.endpoints()[0].stats().in_flight(),
        0,
        "the old life ends by itself"
    );
}
