//! Every interleaving of a few requests and a limit that moves: `make loom`.
//!
//! The semaphore is tokio's: loom sees each of its calls as one step. What is checked is
//! the bookkeeping around it.

use super::super::algorithm::Fixed;
use super::*;
use loom::thread;

fn gate(limit: u32, max_waiting: usize) -> Arc<Gate> {
    let fixed = Box::new(Fixed(limit));
    Arc::new(Gate::new(fixed, max_waiting, Duration::ZERO))
}

fn set(gate: &Gate, limit: u32) {
    gate.set(Box::new(Fixed(limit)), 1, Duration::ZERO);
}

/// How many requests the gate lets in at once.
fn room(gate: &Arc<Gate>) -> u32 {
    let all: Vec<_> = std::iter::from_fn(|| gate.try_enter()).collect();
    all.len() as u32
}

/// A request comes and goes while the limit sinks: afterwards there is as much room as the
/// limit says, not more for the permit that came back, and not less.
#[test]
fn a_limit_that_sinks_takes_back_what_is_in_use() {
    loom::model(|| {
        let gate = gate(2, 1);
        let request = thread::spawn({
            let gate = Arc::clone(&gate);
            move || drop(gate.try_enter())
        });
        let held = gate.try_enter();
        set(&gate, 1);
        request.join().expect("the request does not panic");
        drop(held);
        assert_eq!((gate.in_flight(), room(&gate)), (0, 1));
    });
}

/// The limit sinks in one thread and rises in another while a request ends.
#[test]
fn a_limit_that_moves_both_ways_ends_where_it_was_set_last() {
    loom::model(|| {
        let gate = gate(2, 1);
        let held = gate.try_enter();
        let other = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                set(&gate, 1);
                set(&gate, 3);
            }
        });
        drop(held);
        other.join().expect("the other does not panic");
        assert_eq!((gate.in_flight(), room(&gate)), (0, 3));
    });
}

/// Of two that want the one place in the queue one gets it, and gives it back.
#[test]
fn no_more_wait_than_may() {
    loom::model(|| {
        let gate = gate(1, 1);
        let other = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                let place = Place::take(&gate);
                (place.is_some(), gate.waiting())
            }
        });
        let place = Place::take(&gate);
        assert!(gate.waiting() <= 1);
        let (theirs, seen) = other.join().expect("the other does not panic");
        assert!(seen <= 1 && (theirs || place.is_some()));
        drop(place);
        assert_eq!(gate.waiting(), 0);
        assert!(Place::take(&gate).is_some(), "the place is free again");
    });
}
