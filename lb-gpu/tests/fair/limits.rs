//! What is refused, bounded or forgotten, and settings and figures at their limits.

use std::time::Duration;

use lb_gpu::fair::{Demand, FairShare, InvalidConfig, Refused, WEIGHTS};

use super::{GIB, grants, one_second, secs, start, two_tenants};

#[test]
fn refusals_have_their_reasons() {
    let (now, mut scheduler) = (start(), two_tenants(2));
    let unknown = scheduler.request("stranger", one_second(), now);
    assert_eq!(unknown, Err(Refused::UnknownTenant));
    for demand in [
        Demand::slots(3),
        Demand::slots(1).memory_bytes(81 * GIB),
        Demand::slots(1).on("another"),
    ] {
        assert_eq!(
            scheduler.request("a", demand, now),
            Err(Refused::Impossible)
        );
    }
}

#[test]
fn a_full_queue_says_when_to_come_back_and_leaves_others_their_room() {
    let now = start();
    let mut scheduler = FairShare::builder()
        .slots(2)
        .tenant("a", 1.0)
        .tenant("b", 1.0)
        .max_waiting(10, 15)
        .expected(secs(4))
        .build_scheduler()
        .unwrap();
    for _ in 0..10 {
        scheduler.request("a", Demand::slots(1), now).unwrap();
    }
    let full = Refused::QueueFull {
        retry_after: secs(20),
    };
    assert_eq!(scheduler.request("a", Demand::slots(1), now), Err(full));
    for _ in 0..5 {
        scheduler.request("b", Demand::slots(1), now).unwrap();
    }
    let full = scheduler.request("b", Demand::slots(1), now);
    assert!(matches!(full, Err(Refused::QueueFull { .. })), "in all");
    assert_eq!(scheduler.waiting(), 15);
}

#[test]
fn strangers_are_bounded_and_forgotten_when_idle() {
    let now = start();
    let mut scheduler = FairShare::builder()
        .slots(1)
        .strangers(1.0)
        .max_tenants(2)
        .build_scheduler()
        .unwrap();
    let first = scheduler.request("one", one_second(), now).unwrap();
    scheduler.request("two", one_second(), now).unwrap();
    assert_eq!(
        scheduler.request("three", one_second(), now),
        Err(Refused::TooManyTenants)
    );
    assert!(scheduler.cancel(first, now));
    assert!(scheduler.request("three", one_second(), now).is_ok());
    assert!(scheduler.explain("one", now).is_none());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let slots = || FairShare::builder().slots(1);
    assert!(FairShare::builder().build().is_err());
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 1e300] {
        assert!(slots().tenant("a", weight).build().is_err());
        assert!(slots().strangers(weight).build().is_err());
    }
    assert!(slots().max_waiting(0, 1).build().is_err());
    assert!(slots().lookahead(0).build().is_err());
    assert!(
        slots()
            .device("x", 1, None)
            .device("x", 2, None)
            .build()
            .is_err()
    );
    assert!(slots().build().is_ok());
}

#[test]
fn more_slots_than_can_be_counted_are_counted_as_the_most_there_can_be() {
    let now = start();
    let mut scheduler = FairShare::builder()
        .device("x", u32::MAX, Some(u64::MAX))
        .device("y", u32::MAX, Some(u64::MAX))
        .tenant("a", 1.0)
        .build_scheduler()
        .unwrap();
    for _ in 0..2 {
        let all = Demand::slots(u32::MAX).memory_bytes(u64::MAX);
        scheduler.request("a", all, now).unwrap();
    }
    assert_eq!(grants(&mut scheduler, now).len(), 2);
    assert_eq!(scheduler.slots(), (u32::MAX, u32::MAX));
}

#[test]
fn memory_that_is_not_counted_may_be_any_number() {
    let now = start();
    let builder = FairShare::builder().slots(2).tenant("a", 1.0);
    let mut scheduler = builder.build_scheduler().unwrap();
    for _ in 0..2 {
        let all = Demand::slots(1).memory_bytes(u64::MAX);
        scheduler.request("a", all, now).unwrap();
    }
    for ticket in grants(&mut scheduler, now) {
        assert!(scheduler.release(ticket, now));
    }
    assert_eq!((scheduler.running(), scheduler.slots()), (0, (0, 2)));
}

#[test]
fn absurd_estimates_do_no_harm() {
    let (now, mut scheduler) = (start(), two_tenants(2));
    for expected in [Duration::ZERO, Duration::MAX] {
        scheduler
            .request("a", Demand::slots(1).expected(expected), now)
            .unwrap();
    }
    let tickets = grants(&mut scheduler, now);
    assert_eq!(tickets.len(), 2);
    for ticket in tickets {
        assert!(scheduler.release(ticket, now + secs(1)));
        assert!(!scheduler.release(ticket, now + secs(1)), "only once");
    }
    assert!((scheduler.explain("a", now).unwrap().virtual_seconds - 1.0).abs() < 1e-9);
}

#[test]
fn the_lightest_tenant_there_can_be_leaves_the_others_their_fair_turns() {
    let (mut now, lightest) = (start(), *WEIGHTS.start());
    let mut scheduler = FairShare::builder()
        .slots(1)
        .tenant("light", lightest)
        .tenant("a", 1.0)
        .tenant("b", 1.0)
        .build_scheduler()
        .unwrap();
    let month = Demand::slots(1).expected(secs(30 * 24 * 3_600));
    for _ in 0..2 {
        scheduler.request("light", month.clone(), now).unwrap();
        let ticket = grants(&mut scheduler, now)[0];
        now += secs(30 * 24 * 3_600);
        scheduler.release(ticket, now);
    }
    let brief = Demand::slots(1).expected(Duration::from_millis(10));
    for tenant in ["a", "b"] {
        for _ in 0..10 {
            scheduler.request(tenant, brief.clone(), now).unwrap();
        }
    }
    for _ in 0..10 {
        let ticket = grants(&mut scheduler, now)[0];
        now += Duration::from_millis(10);
        scheduler.release(ticket, now);
    }
    let left = ["a", "b"].map(|tenant| scheduler.explain(tenant, now).unwrap().waiting);
    assert!(left[0].abs_diff(left[1]) <= 1, "{left:?}");
}

#[test]
fn a_tenant_that_is_named_twice_is_refused() {
    let twice = FairShare::builder()
        .slots(1)
        .tenant("a", 1.0)
        .tenant("b", 1.0)
        .tenant("a", 2.0)
        .build_scheduler();
    assert_eq!(
        twice.unwrap_err(),
        InvalidConfig::DuplicateTenant("a".to_owned())
    );
}
