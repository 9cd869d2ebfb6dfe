//! A pick allocates nothing, whatever the policy.

mod common;

use std::time::Duration;

use common::{id, pool, random, start};
use lb_core::{
    Cause, EndpointSpec, Outcome, PickCx, Pool,
    outlier::OutlierDetection,
    policy::{
        ConsistentHash, LeastRequest, LeastResponseTime, PolicyConfig, Prequal, Random,
        ResourceBased, RoundRobin, WeightedRoundRobin, ZoneAware,
    },
    report::LoadReport,
};

#[test]
fn picking_recording_and_releasing_allocate_nothing() {
    let policies: [PolicyConfig; 12] = [
        RoundRobin::default().into(),
        WeightedRoundRobin::default().into(),
        Random::default().into(),
        LeastRequest::default().into(),
        LeastRequest::default().scan_up_to(0).into(),
        LeastResponseTime::default().into(),
        ResourceBased::default().into(),
        Prequal::default().into(),
        ConsistentHash::maglev().into(),
        ConsistentHash::ring(160).bound(1.25).into(),
        ConsistentHash::rendezvous().into(),
        ZoneAware::new("a", LeastRequest::default()).into(),
    ];
    for policy in policies {
        let pool = pool(40, policy.clone());
        pool.set_weight(&id(1), 5);
        let now = start();
        pool.report(
            &id(0),
            &LoadReport::default().named_metric("active_work", 1.0),
            now,
        );
        let work = || {
            for i in 0..500 {
                let cx = PickCx::new(now, random(i)).hash(random(i));
                let mut lease = pool.pick(&cx).expect("available");
                let outcome =
                    [Outcome::Success, Outcome::Failure, Outcome::Accepted][i as usize % 3];
                lease.record(outcome, now + Duration::from_millis(i));
            }
        };
        work(); // thread-local parts come into being once
        let counted = allocation_counter::measure(work);
        assert_eq!(counted.count_total, 0, "{policy:?}");
    }
}

/// A thread keeps what it knows of the members when only their availability changes.
#[test]
fn the_first_pick_after_an_ejection_is_no_dearer_in_a_large_pool() {
    let cost = |members: usize, change: &dyn Fn(&Pool)| {
        let pool = pool(members, RoundRobin::default());
        let pick = |i| {
            pool.pick(&PickCx::new(start(), random(i)))
                .expect("available")
        };
        drop(pick(0));
        change(&pool);
        allocation_counter::measure(|| drop(pick(1))).bytes_total
    };
    let eject = |pool: &Pool| assert!(pool.mark(&id(0), Cause::Ejected, true));
    assert_eq!(cost(10, &eject), cost(1_000, &eject));
    // The control: another weight is another list of members.
    let weigh = |pool: &Pool| assert!(pool.set_weight(&id(0), 2));
    assert!(cost(10, &weigh) < cost(1_000, &weigh));
}

/// The control: the counter does count.
#[test]
fn an_explanation_allocates() {
    let pool = pool(3, RoundRobin::default());
    let now = start();
    let counted = allocation_counter::measure(|| drop(pool.explain(&PickCx::new(now, 1))));
    assert!(counted.count_total > 0);
}

#[test]
fn a_hundred_thousand_endpoints_are_watched_within_forty_mebibytes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let specs = (0..100_000).map(|at| EndpointSpec::new(format!("e{at}"), "http://10.0.0.1:80"));
    let pool = Pool::builder("many").endpoints(specs).build();
    let pool = pool.expect("a pool");
    let mut detector = None;
    let held = allocation_counter::measure(|| {
        detector = OutlierDetection::default().start(&pool).ok();
    });
    // On the request path nothing is allocated.
    let work = || {
        for i in 0..500 {
            let mut lease = pool.pick(&PickCx::new(start(), random(i))).expect("one");
            lease.record(
                [Outcome::Success, Outcome::Failure][i as usize % 2],
                start(),
            );
        }
    };
    work();
    assert_eq!(allocation_counter::measure(work).count_total, 0);
    let watched = detector.expect("it started").watched();
    assert_eq!(watched.len(), 100_000);
    let bytes = held.bytes_current;
    assert!((1 << 20..40 << 20).contains(&bytes), "{bytes} bytes");
    eprintln!("{bytes} bytes for 100,000 endpoints");
}
