//! From a pick to its end: drains and observers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lb_core::endpoint::{Observation, Observer};
use lb_core::policy::RoundRobin;
use lb_core::{Endpoint, EndpointSpec, Outcome, PickCx};

use crate::common::{id, picks, pool, run, start};

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
