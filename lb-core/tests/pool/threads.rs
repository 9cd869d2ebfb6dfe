//! Many threads at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lb_core::policy::LeastRequest;
use lb_core::{Endpoint, PickCx};

use crate::common::{id, pool, random, specs, start};

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
