//! Every interleaving of a few threads at one endpoint:
//! `make loom`.

use super::*;
use loom::{sync::Arc, thread};

/// A drain that saw the endpoint idle is never followed by a request.
#[test]
fn no_request_slips_in_after_a_drain_saw_it_idle() {
    loom::model(|| {
        let traffic = Arc::new(Traffic::new(0));
        let picker = thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || traffic.enter(u32::MAX, 9).is_ok()
        });
        traffic.set(1, true);
        let idle = traffic.is_idle();
        let entered = picker.join().expect("the picker does not panic");
        assert!(
            !(idle && entered),
            "a request entered an endpoint that was reported as drained"
        );
    });
}

/// Of two requests for one place exactly one or none enters, never both.
#[test]
fn the_limit_holds_between_two_threads() {
    loom::model(|| {
        let traffic = Arc::new(Traffic::new(0));
        let other = thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || traffic.enter(u32::MAX, 1).is_ok()
        });
        let mine = traffic.enter(u32::MAX, 1).is_ok();
        let theirs = other.join().expect("the other does not panic");
        assert!(!(mine && theirs));
        assert_eq!(traffic.in_flight(), u32::from(mine) + u32::from(theirs));
    });
}

/// Whoever leaves last while a drain looks: the drain sees it idle or is told.
#[test]
fn a_drain_is_never_left_waiting() {
    loom::model(|| {
        let traffic = Arc::new(Traffic::new(0));
        assert!(traffic.enter(u32::MAX, 9).is_ok());
        let leaver = thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || traffic.leave()
        });
        traffic.set(1, true);
        let idle = traffic.is_idle();
        let told = leaver.join().expect("the leaver does not panic");
        assert!(idle || told, "nobody would wake the drain");
    });
}

/// Three requests for two places: never three at once, and whoever was let in
/// and left leaves nothing behind, nor does whoever was refused.
#[test]
fn every_place_is_given_back() {
    loom::model(|| {
        let traffic = Arc::new(Traffic::new(0));
        let request = |traffic: Arc<Traffic>| {
            let entered = traffic.enter(u32::MAX, 2).is_ok();
            if entered {
                traffic.leave();
            }
            u64::from(entered)
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let traffic = Arc::clone(&traffic);
                thread::spawn(move || request(traffic))
            })
            .collect();
        let mut entered = request(Arc::clone(&traffic));
        for other in others {
            entered += other.join().expect("no panic");
        }
        assert!(traffic.is_idle());
        assert_eq!(traffic.picks(), entered, "only those let in are counted");
        assert!(traffic.enter(u32::MAX, 1).is_ok(), "the places are free");
    });
}

/// A request that ends and a cause that comes and goes: the count is right and
/// the cause is as it was set last.
#[test]
fn causes_and_counts_do_not_disturb_each_other() {
    loom::model(|| {
        let traffic = Arc::new(Traffic::new(0));
        assert!(traffic.enter(u32::MAX, 9).is_ok());
        let other = thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || {
                traffic.set(2, true);
                traffic.set(2, false);
            }
        });
        let entered = traffic.enter(!2, 9).is_ok();
        traffic.leave();
        other.join().expect("no panic");
        assert!(entered, "the mask overlooks that cause");
        assert_eq!((traffic.in_flight(), traffic.causes()), (1, 0));
    });
}
