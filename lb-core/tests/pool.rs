//! Membership, availability, leases and drains of the pool.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{id, picks, pool, random, run, specs, start};
use lb_core::{
    Cause, ConfigError, Endpoint, EndpointSpec, Outcome, PickCx, PickError, Pool,
    endpoint::{Observation, Observer},
    policy::{LeastRequest, RoundRobin},
    pool::{Exclusion, State},
};
use tower::discover::Change;

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

#[tokio::test]
async fn a_drain_ends_when_the_last_request_does() {
    let pool = pool(2, RoundRobin::default());
    let cx = PickCx::new(start(), 1);
    let lease = pool.pick_bound(&id(0), None, &cx).expect("available");
    let drained = tokio::spawn(pool.drain(&id(0)));
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    drop(lease);
    drained.await.expect("ends");
    run(&pool, 10);
    assert_eq!(picks(&pool)[0], 1, "nothing new while draining");
}

#[tokio::test]
async fn draining_somebody_unknown_or_idle_ends_at_once() {
    let pool = pool(1, RoundRobin::default());
    pool.drain(&id(9)).await;
    pool.drain(&id(0)).await;
}

#[tokio::test]
async fn a_drain_waits_for_a_member_that_left() {
    let pool = pool(1, RoundRobin::default());
    let lease = pool.pick(&PickCx::new(start(), 1)).expect("available");
    pool.set_endpoints(Vec::<EndpointSpec>::new())
        .expect("good");
    let drained = tokio::spawn(pool.drain(&id(0)));
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    drop(lease);
    drained.await.expect("ends");
}

#[tokio::test]
async fn the_latest_discovered_set_wins_and_outlives_its_stream() {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let pool = Pool::builder("test")
        .discover(Sets(receiver))
        .build()
        .expect("in a runtime");
    sender.send(specs(2)).await.expect("the pool listens");
    sender
        .send(vec![EndpointSpec::new("bad", "?"), specs(1).remove(0)])
        .await
        .expect("the pool listens");
    sender
        .send(vec![EndpointSpec::new("bad", "?")])
        .await
        .expect("the pool listens");
    drop(sender);
    tokio::task::yield_now().await;
    let names: Vec<_> = pool
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.id().to_string())
        .collect();
    assert_eq!(
        names,
        ["e0"],
        "the bad one is left out, the useless set is ignored"
    );
}

/// The stream is ready before the pool stands: on several threads its task may run first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_set_that_is_there_before_the_pool_is_not_lost() {
    for round in 0..500 {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        sender.send(specs(1)).await.expect("there is room");
        let pool = Pool::builder("test")
            .discover(Sets(receiver))
            .build()
            .expect("in a runtime");
        let known = async {
            while pool.endpoints().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(5), known).await;
        assert!(seen.is_ok(), "round {round}: the pool stayed empty");
    }
}

#[test]
fn discovery_without_a_runtime_is_an_error() {
    let (_sender, receiver) = tokio::sync::mpsc::channel(1);
    let result = Pool::builder("test").discover(Sets(receiver)).build();
    assert!(matches!(result, Err(ConfigError::NoRuntime { .. })));
}

struct Sets(tokio::sync::mpsc::Receiver<Vec<EndpointSpec>>);

impl futures_core::Stream for Sets {
    type Item = Vec<EndpointSpec>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[test]
fn observers_hear_the_first_word_about_each_request() {
    struct Count(Arc<AtomicUsize>);
    impl Observer for Count {
        fn observed(&self, endpoint: &Endpoint, observation: &Observation) {
            assert_eq!(endpoint.id(), &id(0));
            assert_eq!(observation.latency, Duration::from_millis(5));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let heard = Arc::new(AtomicUsize::new(0));
    let pool = pool(1, RoundRobin::default());
    pool.observe(Count(Arc::clone(&heard)));
    let now = start();
    let mut lease = pool.pick(&PickCx::new(now, 1)).expect("available");
    lease.record(Outcome::Failure, now + Duration::from_millis(5));
    lease.record(Outcome::Success, now + Duration::from_millis(9));
    drop(lease);
    assert_eq!(heard.load(Ordering::Relaxed), 1);
    assert_eq!(pool.status().endpoints[0].failures_total, 1);
}

#[test]
fn swapping_snapshots_under_load_loses_no_count() {
    let pool = pool(4, LeastRequest::default());
    let now = start();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let pool = &pool;
            scope.spawn(move || {
                for i in 0..20_000 {
                    drop(pool.pick(&PickCx::new(now, random(thread << 32 | i))));
                }
            });
        }
        for i in 0..300 {
            let n = 1 + i % 4;
            pool.set_endpoints(specs(n)).expect("good");
            pool.set_draining(&id(0), i % 3 == 0);
            pool.set_weight(&id(0), i as u32);
        }
    });
    pool.set_endpoints(specs(4)).expect("good");
    assert!(
        pool.endpoints()
            .iter()
            .all(|endpoint| endpoint.stats().in_flight() == 0)
    );
}

/// Whole generations of endpoints come and go while three threads pick. Nobody is
/// turned away, nobody goes back in time, and who knows of a generation gets it
/// or a later one.
#[test]
fn replacing_every_member_at_once_turns_no_request_away() {
    let generation = |number: u64| {
        specs(3)
            .into_iter()
            .map(move |spec| spec.incarnation(number))
    };
    let pool = pool(0, LeastRequest::default());
    pool.set_endpoints(generation(1)).expect("good");
    let known = std::sync::atomic::AtomicU64::new(1);
    let now = start();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (pool, known) = (&pool, &known);
            scope.spawn(move || {
                let mut last = 0;
                for i in 0.. {
                    let at_least = known.load(Ordering::Acquire);
                    if at_least == 400 {
                        return;
                    }
                    let cx = PickCx::new(now, random(thread << 32 | i));
                    let lease = pool.pick(&cx).expect("there is always a generation");
                    let seen = lease.endpoint().incarnation();
                    assert!(seen >= at_least, "{seen} after {at_least} was there");
                    assert!(seen >= last, "{seen} after {last}");
                    last = seen;
                }
            });
        }
        for number in 2..=400 {
            pool.set_endpoints(generation(number)).expect("good");
            known.store(number, Ordering::Release);
        }
    });
    let idle = |endpoint: &Arc<Endpoint>| endpoint.stats().in_flight() == 0;
    assert!(pool.endpoints().iter().all(idle));
}

#[tokio::test]
async fn single_changes_of_a_tower_discover_become_members() {
    type Next = Result<Change<u8, EndpointSpec>, std::convert::Infallible>;
    struct Changes(tokio::sync::mpsc::Receiver<Next>);
    impl futures_core::Stream for Changes {
        type Item = Next;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Next>> {
            self.0.poll_recv(cx)
        }
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let pool = Pool::builder("test")
        .discover_changes(Changes(receiver))
        .build()
        .expect("in a runtime");
    for (key, spec) in (0u8..).zip(specs(3)) {
        sender
            .send(Ok(Change::Insert(key, spec)))
            .await
            .expect("the pool listens");
    }
    sender
        .send(Ok(Change::Remove(1)))
        .await
        .expect("the pool listens");
    tokio::task::yield_now().await;
    let names: Vec<_> = pool
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.id().to_string())
        .collect();
    assert_eq!(names, ["e0", "e2"]);
}
