//! Every interleaving of giving back, cancelling, revoking and waiting.
//!
//! `RUSTFLAGS="--cfg lb_loom" cargo test -p lb-gpu --release --no-default-features --test loom_fair`
#![cfg(lb_loom)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use lb_gpu::fair::{Acquire, Demand, FairShare, Permit, Refused};
use loom::future::block_on;
use loom::thread;

fn share() -> FairShare {
    FairShare::builder()
        .slots(1)
        .tenant("a", 1.0)
        .build()
        .expect("these settings work")
}

fn poll(acquire: &mut Acquire) -> Poll<Result<Permit, Refused>> {
    pin!(acquire).poll(&mut Context::from_waker(Waker::noop()))
}

fn granted(share: &FairShare) -> Permit {
    block_on(share.acquire("a", Demand::slots(1))).expect("the slot is free")
}

#[test]
fn whoever_waits_is_woken_when_the_slot_is_given_back() {
    loom::model(|| {
        let share = share();
        let permit = granted(&share);
        let releasing = thread::spawn(move || drop(permit));
        // Hangs, and fails the model, if the wake-up can get lost.
        drop(granted(&share));
        releasing.join().expect("the other thread ends");
        assert_eq!(share.counts(), (0, 0));
    });
}

#[test]
fn a_grant_that_crosses_a_cancellation_is_not_lost() {
    loom::model(|| {
        let share = share();
        let permit = granted(&share);
        let mut cancelled = share.acquire("a", Demand::slots(1));
        assert!(poll(&mut cancelled).is_pending());
        let cancelling = thread::spawn(move || drop(cancelled));
        let releasing = thread::spawn(move || drop(permit));
        drop(granted(&share));
        cancelling.join().expect("the other thread ends");
        releasing.join().expect("the other thread ends");
        assert_eq!((share.counts(), share.slots()), ((0, 0), (0, 1)));
    });
}

#[test]
fn a_revocation_reaches_who_waits_for_it() {
    loom::model(|| {
        let share = share();
        let permit = granted(&share);
        let operator = share.clone();
        let revoking = thread::spawn(move || operator.set_fit(&"gpu".into(), false));
        block_on(permit.revoked());
        assert!(permit.is_revoked());
        revoking.join().expect("the other thread ends");
    });
}

#[test]
fn two_waiters_share_one_slot_one_after_the_other() {
    loom::model(|| {
        let share = share();
        let other = share.clone();
        let rival = thread::spawn(move || drop(granted(&other)));
        drop(granted(&share));
        rival.join().expect("the other thread ends");
        assert_eq!(share.counts(), (0, 0));
    });
}
