use std::time::Instant;

use crate::{EndpointId, Pool, clock, pick::PickCx, policy::RoundRobin};

fn pool(endpoints: usize) -> Pool {
    let names = (0..endpoints).map(|i| format!("http://10.0.0.1:{}", 1 + i));
    Pool::builder("test")
        .endpoints(names)
        .policy(RoundRobin::default())
        .build()
        .expect("good")
}

fn pick(pool: &Pool, now: Instant) -> EndpointId {
    let lease = pool.pick(&PickCx::new(now, 1)).expect("available");
    lease.endpoint().id().clone()
}

#[test]
fn many_pools_on_one_thread_keep_apart() {
    let now = clock::now();
    let pools: Vec<_> = (0..super::PLACES * 2 + 1).map(|_| pool(1)).collect();
    for round in 1..=3 {
        for pool in &pools {
            pick(pool, now);
            assert_eq!(pool.endpoints()[0].stats().picks_total(), round);
        }
    }
}

#[test]
fn a_pool_that_is_gone_is_let_go_by_the_next_new_snapshot() {
    let now = clock::now();
    let gone = pool(1);
    pick(&gone, now);
    let member = std::sync::Arc::downgrade(&gone.endpoints()[0]);
    drop(gone);
    assert!(member.strong_count() > 0, "the thread still keeps it");
    pick(&pool(1), now);
    assert_eq!(member.strong_count(), 0);
}

#[test]
fn the_next_pick_after_a_change_sees_it() {
    let now = clock::now();
    let pool = pool(2);
    for round in 0..50 {
        let names = [format!("http://10.0.1.{round}:1")];
        pool.set_endpoints(names.iter().map(String::as_str))
            .expect("good");
        assert_eq!(pick(&pool, now).as_str(), names[0]);
    }
}

#[test]
fn a_lease_may_end_on_another_thread() {
    let now = clock::now();
    let pool = pool(2);
    let lease = pool.pick(&PickCx::new(now, 1)).expect("available");
    let other = pool.clone();
    std::thread::spawn(move || {
        pick(&other, now);
        drop(lease);
        pick(&other, now);
    })
    .join()
    .expect("no panic");
    let in_flight =
        |pool: &Pool| -> u32 { pool.endpoints().iter().map(|e| e.stats().in_flight()).sum() };
    assert_eq!(in_flight(&pool), 0);
}
