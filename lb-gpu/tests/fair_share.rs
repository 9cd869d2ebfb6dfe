//! The async side: permits, cancellation, revocation.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use lb_gpu::fair::{Acquire, Demand, FairShare, Permit, Refused};
use lb_gpu::reading::{DeviceFault, DeviceReading, Memory, Reading};
use lb_gpu::tracker::{Tracker, TrackerConfig};

fn share(slots: u32) -> FairShare {
    FairShare::builder()
        .slots(slots)
        .tenant("a", 1.0)
        .build()
        .expect("these settings work")
}

fn poll(acquire: &mut Acquire) -> Poll<Result<Permit, Refused>> {
    pin!(acquire).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_dropped_permit_wakes_who_is_next() {
    let share = share(1);
    let permit = share.acquire("a", Demand::slots(1)).await.unwrap();
    let next = tokio::spawn(share.acquire("a", Demand::slots(1)));
    tokio::task::yield_now().await;
    assert_eq!(share.counts(), (1, 1));
    drop(permit);
    let next = next.await.unwrap().unwrap();
    assert_eq!((share.counts(), next.device().as_str()), ((0, 1), "gpu"));
    drop(next);
    assert_eq!((share.counts(), share.slots()), ((0, 0), (0, 1)));
}

#[test]
fn cancelling_before_the_first_poll_takes_the_request_back() {
    let share = share(1);
    drop(share.acquire("a", Demand::slots(1)));
    assert_eq!(share.counts(), (0, 0));
}

#[test]
fn cancelling_while_waiting_takes_the_request_back() {
    let share = share(1);
    let Poll::Ready(Ok(permit)) = poll(&mut share.acquire("a", Demand::slots(1))) else {
        panic!()
    };
    let mut waiting = share.acquire("a", Demand::slots(1));
    assert!(poll(&mut waiting).is_pending());
    drop(waiting);
    assert_eq!(share.counts(), (0, 1));
    drop(permit);
    assert_eq!(share.counts(), (0, 0));
}

#[test]
fn cancelling_after_the_grant_but_before_the_wake_up_passes_the_slot_on() {
    let share = share(1);
    let Poll::Ready(Ok(permit)) = poll(&mut share.acquire("a", Demand::slots(1))) else {
        panic!()
    };
    let mut granted = share.acquire("a", Demand::slots(1));
    assert!(poll(&mut granted).is_pending());
    let mut behind = share.acquire("a", Demand::slots(1));
    assert!(poll(&mut behind).is_pending());
    drop(permit); // `granted` has the slot now and does not know it
    drop(granted);
    assert!(matches!(poll(&mut behind), Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn a_panic_while_holding_a_permit_gives_the_slot_back() {
    let share = share(1);
    let permit = share.acquire("a", Demand::slots(1)).await.unwrap();
    let task = tokio::spawn(async move {
        let _permit = permit;
        panic!("the work went wrong");
    });
    assert!(task.await.is_err());
    assert_eq!(share.counts(), (0, 0));
}

#[tokio::test]
async fn a_refusal_arrives_through_the_future() {
    let refused = share(1).acquire("nobody", Demand::slots(1)).await.err();
    assert_eq!(refused, Some(Refused::UnknownTenant));
}

#[tokio::test]
async fn permits_on_a_device_that_becomes_unfit_are_told_and_waiters_go_elsewhere() {
    let share = FairShare::builder()
        .device("x", 1, None)
        .device("y", 1, None)
        .tenant("a", 1.0)
        .build()
        .unwrap();
    let on_x = share.acquire("a", Demand::slots(1).on("x")).await.unwrap();
    let on_y = share.acquire("a", Demand::slots(1).on("y")).await.unwrap();
    let mut revoked = pin!(on_x.revoked());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(revoked.as_mut().poll(&mut cx).is_pending());
    share.set_fit(&"x".into(), false);
    revoked.await;
    assert!(on_x.is_revoked() && !on_y.is_revoked());

    let mut waiting = share.acquire("a", Demand::slots(1));
    assert!(poll(&mut waiting).is_pending());
    drop(on_x);
    assert!(poll(&mut waiting).is_pending(), "x is free and unfit");
    drop(on_y);
    let Poll::Ready(Ok(permit)) = poll(&mut waiting) else {
        panic!("y is free and fit")
    };
    assert_eq!(permit.device().as_str(), "y");
}

#[tokio::test]
async fn all_who_wait_for_a_revocation_hear_of_it() {
    let share = share(1);
    let permit = share.acquire("a", Demand::slots(1)).await.unwrap();
    let permit = std::sync::Arc::new(permit);
    let waiting = [(); 3].map(|()| {
        let permit = std::sync::Arc::clone(&permit);
        tokio::spawn(async move { permit.revoked().await })
    });
    tokio::task::yield_now().await;
    // One who gives up leaves the others their places.
    waiting[1].abort();
    tokio::task::yield_now().await;
    share.set_fit(&"gpu".into(), false);
    let [first, _, last] = waiting;
    let both = async { tokio::try_join!(first, last) };
    let heard = tokio::time::timeout(std::time::Duration::from_secs(20), both).await;
    assert!(heard.is_ok_and(|both| both.is_ok()));
}

#[test]
fn what_the_sampler_sees_reaches_the_scheduler() {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    let now = std::time::Instant::now();
    let mut device = DeviceReading::new("GPU-1");
    device.metrics.memory = Some(Memory {
        total_bytes: 100,
        used_bytes: 90,
        reserved_bytes: 0,
        free_bytes: 10,
    });
    let reading = Reading {
        devices: vec![device.clone()],
        ..Reading::default()
    };
    let mut tracker = Tracker::new(TrackerConfig::default());
    tracker.observe(reading.clone(), now);
    let seen = tracker.snapshot(now);

    let share = FairShare::builder()
        .devices_of(&seen, 4)
        .tenant("a", 1.0)
        .build()
        .unwrap();
    share.observe(&seen);
    let mut large = share.acquire("a", Demand::slots(1).memory_bytes(20));
    assert!(poll(&mut large).is_pending(), "others hold 90 of 100 bytes");
    let Poll::Ready(Ok(small)) = poll(&mut share.acquire("a", Demand::slots(1).memory_bytes(10)))
    else {
        panic!("ten bytes are free")
    };

    tracker.observe(Reading::default(), now); // the device is gone
    share.observe(&tracker.snapshot(now));
    assert!(small.is_revoked());
    assert_eq!(share.slots(), (1, 0));
}

#[test]
fn memory_that_a_device_frees_by_breaking_is_given_to_nobody() {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    let now = std::time::Instant::now();
    let holding = |used_bytes, fault| {
        let mut device = DeviceReading::new("GPU-1");
        device.fault = fault;
        device.metrics.memory = Some(Memory {
            total_bytes: 100,
            used_bytes,
            reserved_bytes: 0,
            free_bytes: 100 - used_bytes,
        });
        let reading = Reading {
            devices: vec![device],
            ..Reading::default()
        };
        let mut tracker = Tracker::new(TrackerConfig::default());
        tracker.observe(reading, now);
        tracker.snapshot(now)
    };
    let full = holding(100, None);
    let share = FairShare::builder()
        .devices_of(&full, 1)
        .tenant("a", 1.0)
        .build()
        .unwrap();
    share.observe(&full);
    let mut waiting = share.acquire("a", Demand::slots(1).memory_bytes(20));
    share.observe(&holding(0, Some(DeviceFault::ResetRequired)));
    assert!(poll(&mut waiting).is_pending(), "the device is unfit");
    share.observe(&holding(0, None));
    assert!(poll(&mut waiting).is_ready());
}
