use std::{sync::Arc, time::Instant};

use crate::{
    EndpointId, Pool,
    candidates::Candidates,
    clock,
    pick::{PickCx, Picker},
    policy::{Policy, PolicyConfig, RoundRobin},
};

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
    let pools: Vec<_> = (0..crate::pool::known::PLACES * 2 + 1)
        .map(|_| pool(1))
        .collect();
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
    let member = Arc::downgrade(&gone.endpoints()[0]);
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

/// Picks from other pools before it chooses; some of them share its place.
#[derive(Clone, Debug)]
struct Curious(Vec<Pool>);

impl Policy for Curious {
    fn name(&self) -> &str {
        "curious"
    }

    fn build(&self, _: &Candidates, _: u64) -> Arc<dyn Picker> {
        Arc::new(self.clone())
    }
}

impl Picker for Curious {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let leases: Vec<_> = self.0.iter().map(|pool| pool.pick(cx)).collect();
        assert!(leases.iter().all(Result::is_ok));
        candidates.available().first().map(|index| *index as usize)
    }
}

#[test]
fn a_picker_may_itself_pick() {
    let now = clock::now();
    let others: Vec<_> = (0..2 * crate::pool::known::PLACES)
        .map(|_| pool(1))
        .collect();
    let curious = pool(2);
    let policy = PolicyConfig::Custom(Arc::new(Curious(others.clone())));
    curious.set_policy(policy).expect("good");
    for round in 1..=3 {
        pick(&curious, now);
        for other in &others {
            let endpoint = &other.endpoints()[0];
            let stats = endpoint.stats();
            assert_eq!((stats.picks_total(), stats.in_flight()), (round, 0));
        }
    }
}
