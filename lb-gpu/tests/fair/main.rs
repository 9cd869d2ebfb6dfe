//! The scheduler in virtual time: turns, limits, reservations, explanations.

mod limits;

use std::time::{Duration, Instant};

use lb_gpu::fair::{Demand, FairShare, Scheduler, Ticket, WaitReason};

const GIB: u64 = 1 << 30;

/// The one clock of this file: everything else is an offset from it.
fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    Instant::now()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All grants that are possible now.
fn grants(scheduler: &mut Scheduler, now: Instant) -> Vec<Ticket> {
    std::iter::from_fn(|| scheduler.next_grant(now))
        .map(|grant| grant.ticket)
        .collect()
}

fn two_tenants(slots: u32) -> Scheduler {
    FairShare::builder()
        .slots(slots)
        .memory_bytes(80 * GIB)
        .tenant("a", 1.0)
        .tenant("b", 1.0)
        .build_scheduler()
        .expect("these settings work")
}

fn one_second() -> Demand {
    Demand::slots(1).expected(secs(1))
}

#[test]
fn a_lone_tenant_may_use_everything() {
    let (now, mut scheduler) = (start(), two_tenants(4));
    for _ in 0..6 {
        scheduler.request("a", one_second(), now).unwrap();
    }
    assert_eq!(grants(&mut scheduler, now).len(), 4);
    assert_eq!((scheduler.running(), scheduler.waiting()), (4, 2));
}

#[test]
fn turns_follow_the_weights() {
    let start = start();
    let mut scheduler = FairShare::builder()
        .slots(1)
        .tenant("gold", 3.0)
        .tenant("basic", 1.0)
        .build_scheduler()
        .unwrap();
    let mut gold = Vec::new();
    for _ in 0..400 {
        gold.push(scheduler.request("gold", one_second(), start).unwrap());
        scheduler.request("basic", one_second(), start).unwrap();
    }
    let mut served = 0;
    for second in 0..400 {
        let now = start + secs(second);
        let [ticket] = grants(&mut scheduler, now)[..] else {
            panic!("one slot, one grant")
        };
        served += u32::from(gold.contains(&ticket));
        scheduler.release(ticket, now + secs(1));
    }
    assert!((299..=301).contains(&served), "{served} of 400");
}

#[test]
fn the_scarcer_resource_is_what_counts() {
    // "a" takes memory, "b" takes slots; both take half of their resource.
    let (now, mut scheduler) = (start(), two_tenants(8));
    let wide = Demand::slots(4).expected(secs(1));
    let deep = Demand::slots(1).memory_bytes(40 * GIB).expected(secs(1));
    scheduler.request("a", deep, now).unwrap();
    scheduler.request("b", wide, now).unwrap();
    grants(&mut scheduler, now);
    let clock = |tenant| scheduler.explain(tenant, now).map(|it| it.virtual_seconds);
    assert_eq!(clock("a"), clock("b"));
    assert_eq!(clock("a"), Some(0.5));
}

#[test]
fn nobody_saves_up_turns_while_away() {
    let (start, mut scheduler) = (start(), two_tenants(1));
    for second in 0..100 {
        let now = start + secs(second);
        let ticket = scheduler.request("a", one_second(), now).unwrap();
        assert_eq!(grants(&mut scheduler, now), [ticket]);
        scheduler.release(ticket, now + secs(1));
    }
    let now = start + secs(100);
    for _ in 0..10 {
        scheduler.request("a", one_second(), now).unwrap();
        scheduler.request("b", one_second(), now).unwrap();
    }
    let mut from_a = 0;
    for second in 0..10 {
        let before = scheduler.explain("a", now).unwrap().waiting;
        let [ticket] = grants(&mut scheduler, now + secs(second))[..] else {
            panic!()
        };
        from_a += before - scheduler.explain("a", now).unwrap().waiting;
        scheduler.release(ticket, now + secs(second + 1));
    }
    assert_eq!(from_a, 5, "b's hundred idle seconds give it no claim");
}

#[test]
fn work_that_outlives_its_estimate_is_charged_as_it_runs() {
    let (start, mut scheduler) = (start(), two_tenants(1));
    scheduler.request("a", one_second(), start).unwrap();
    grants(&mut scheduler, start);
    scheduler
        .request("b", one_second(), start + secs(100))
        .unwrap();
    let paid = scheduler
        .explain("a", start + secs(100))
        .unwrap()
        .virtual_seconds;
    assert!((100.0..=200.0).contains(&paid), "{paid}");
}

#[test]
fn what_was_charged_too_much_is_given_back() {
    let (start, mut scheduler) = (start(), two_tenants(1));
    let ticket = scheduler
        .request("a", Demand::slots(1).expected(secs(1_000)), start)
        .unwrap();
    grants(&mut scheduler, start);
    scheduler.release(ticket, start + secs(2));
    assert_eq!(scheduler.explain("a", start).unwrap().virtual_seconds, 2.0);
}

#[test]
fn a_newcomer_waits_for_one_turn_of_a_crowd_whose_work_nobody_knows() {
    let (mut now, mut scheduler) = (start(), two_tenants(1));
    for _ in 0..6 {
        scheduler.request("a", Demand::slots(1), now).unwrap();
    }
    let mut running = grants(&mut scheduler, now)[0];
    let late = scheduler.request("b", Demand::slots(1), now).unwrap();
    let mut turns = 0;
    while running != late {
        turns += 1;
        now += Duration::from_millis(300);
        scheduler.release(running, now);
        running = grants(&mut scheduler, now)[0];
    }
    assert_eq!(turns, 1);
}

#[test]
fn a_tenants_own_requests_go_by_priority_then_arrival() {
    let (now, mut scheduler) = (start(), two_tenants(1));
    let blocker = scheduler.request("b", one_second(), now).unwrap();
    grants(&mut scheduler, now);
    let first = scheduler.request("a", one_second(), now).unwrap();
    let second = scheduler.request("a", one_second(), now).unwrap();
    let urgent = scheduler
        .request("a", one_second().priority(1), now)
        .unwrap();
    let mut order = Vec::new();
    let mut last = blocker;
    for _ in 0..3 {
        scheduler.release(last, now);
        last = grants(&mut scheduler, now)[0];
        order.push(last);
    }
    assert_eq!(order, [urgent, first, second]);
}

// === Fitting, reserving ===

#[test]
fn work_goes_to_the_emptiest_device_that_has_room() {
    let now = start();
    let mut scheduler = FairShare::builder()
        .device("small", 4, Some(10 * GIB))
        .device("large", 2, Some(80 * GIB))
        .tenant("a", 1.0)
        .build_scheduler()
        .unwrap();
    let mut place = |demand| {
        scheduler.request("a", demand, now).unwrap();
        scheduler
            .next_grant(now)
            .map(|grant| grant.device.to_string())
    };
    assert_eq!(place(Demand::slots(1)).as_deref(), Some("small"));
    assert_eq!(
        place(Demand::slots(1).memory_bytes(40 * GIB)).as_deref(),
        Some("large")
    );
    assert_eq!(
        place(Demand::slots(1).on("large")).as_deref(),
        Some("large")
    );
    assert_eq!(place(Demand::slots(1).on("large")), None);
}

/// One large request under a stream of small ones, two of them at any time.
/// Returns the second at which the large one started.
fn large_one_under_a_stream_of_small_ones(mut scheduler: Scheduler) -> Option<u64> {
    let start = start();
    let mut running: Vec<(Ticket, Instant)> = Vec::new();
    let mut large = None;
    for second in 0..600 {
        let now = start + secs(second);
        running.retain(|(ticket, end)| *end > now || !scheduler.release(*ticket, now));
        if second == 5 {
            let all = Demand::slots(2).expected(secs(2));
            large = Some(scheduler.request("a", all, now).expect("it could fit"));
        }
        // Each takes two seconds, and they overlap: both slots are never free at once.
        scheduler
            .request("b", Demand::slots(1).expected(secs(2)), now)
            .expect("it could fit");
        for ticket in grants(&mut scheduler, now) {
            if Some(ticket) == large {
                return Some(second);
            }
            running.push((ticket, now + secs(2)));
        }
    }
    None
}

#[test]
fn a_large_request_starts_after_reserve_after_and_one_holding_time() {
    let began = large_one_under_a_stream_of_small_ones(two_tenants(2)).expect("it starts");
    assert!((15..=5 + 10 + 2).contains(&began), "{began}");
}

#[test]
fn without_reservation_the_same_request_starves() {
    let control = FairShare::builder()
        .slots(2)
        .tenant("a", 1.0)
        .tenant("b", 1.0)
        .never_reserve()
        .build_scheduler()
        .unwrap();
    assert_eq!(large_one_under_a_stream_of_small_ones(control), None);
}

#[test]
fn a_reservation_ends_with_its_request() {
    let (start, mut scheduler) = (start(), two_tenants(2));
    scheduler
        .request("b", Demand::slots(1).expected(secs(60)), start)
        .unwrap();
    grants(&mut scheduler, start);
    let large = scheduler.request("a", Demand::slots(2), start).unwrap();
    grants(&mut scheduler, start);
    let later = start + secs(10);
    scheduler.request("b", one_second(), later).unwrap();
    assert_eq!(
        grants(&mut scheduler, later),
        [],
        "reserved for the large one"
    );
    let device = "gpu".into();
    assert_eq!(
        scheduler.explain("a", later).unwrap().reason,
        WaitReason::Reserved { device }
    );
    assert!(scheduler.cancel(large, later));
    assert_eq!(grants(&mut scheduler, later).len(), 1);
}

#[test]
fn requests_for_a_device_that_is_away_hold_up_nobody() {
    let now = start();
    let mut builder = FairShare::builder()
        .device("x", 1, None)
        .device("y", 1, None);
    for n in 0..40 {
        builder = builder.tenant(format!("t{n}"), 1.0);
    }
    let mut scheduler = builder.build_scheduler().unwrap();
    assert!(scheduler.set_fit(&"x".into(), false).is_empty());
    for n in 0..39 {
        scheduler
            .request(&format!("t{n}"), one_second().on("x"), now)
            .unwrap();
    }
    let other = scheduler.request("t39", one_second(), now).unwrap();
    assert_eq!(grants(&mut scheduler, now), [other]);
    assert_eq!(
        scheduler.explain("t0", now).unwrap().reason,
        WaitReason::NoDevice
    );
    scheduler.set_fit(&"x".into(), true);
    assert_eq!(grants(&mut scheduler, now).len(), 1);
}

#[test]
fn a_device_that_becomes_unfit_names_its_permits_and_takes_no_more() {
    let now = start();
    let mut scheduler = FairShare::builder()
        .device("x", 1, None)
        .device("y", 1, None)
        .tenant("a", 1.0)
        .build_scheduler()
        .unwrap();
    let on_x = scheduler
        .request("a", Demand::slots(1).on("x"), now)
        .unwrap();
    grants(&mut scheduler, now);
    assert_eq!(scheduler.set_fit(&"x".into(), false), [on_x]);
    assert!(
        scheduler.set_fit(&"x".into(), false).is_empty(),
        "said once"
    );
    assert_eq!(scheduler.slots(), (1, 1));
    scheduler.release(on_x, now);
    scheduler.request("a", Demand::slots(1), now).unwrap();
    scheduler.request("a", Demand::slots(1), now).unwrap();
    assert_eq!(
        scheduler
            .next_grant(now)
            .map(|grant| grant.device.to_string())
            .as_deref(),
        Some("y")
    );
    assert_eq!(scheduler.next_grant(now), None);
}

#[test]
fn memory_that_others_hold_is_not_given_away() {
    let (now, mut scheduler) = (start(), two_tenants(8));
    let gpu = "gpu".into();
    scheduler.observe_memory(&gpu, 70 * GIB);
    scheduler
        .request("a", Demand::slots(1).memory_bytes(20 * GIB), now)
        .unwrap();
    assert_eq!(scheduler.next_grant(now), None);
    assert_eq!(
        scheduler.explain("a", now).unwrap().reason,
        WaitReason::NoDevice
    );
    scheduler.observe_memory(&gpu, 10 * GIB);
    assert!(scheduler.next_grant(now).is_some());
}

#[test]
fn an_explanation_says_what_a_tenant_has_wants_and_may_claim() {
    let (start, mut scheduler) = (start(), two_tenants(4));
    for _ in 0..4 {
        scheduler.request("b", one_second(), start).unwrap();
    }
    grants(&mut scheduler, start);
    scheduler.request("b", one_second(), start).unwrap();
    scheduler.request("a", one_second(), start).unwrap();
    grants(&mut scheduler, start);
    let a = scheduler.explain("a", start + secs(3)).unwrap();
    assert_eq!((a.entitled_share, a.held_share, a.waiting), (0.5, 0.0, 1));
    assert_eq!((a.position, a.waited_seconds), (Some(1), Some(3.0)));
    assert_eq!(a.reason, WaitReason::NotItsTurn);
    let b = scheduler.explain("b", start + secs(3)).unwrap();
    assert_eq!((b.held_share, b.running, b.position), (1.0, 4, Some(0)));
    assert_eq!(
        b.reason,
        WaitReason::DoesNotFit {
            reserve_in: Some(secs(7))
        }
    );
    assert_eq!(scheduler.explain_all(start).len(), 2);
    assert_eq!(scheduler.explain("nobody", start), None);
}
