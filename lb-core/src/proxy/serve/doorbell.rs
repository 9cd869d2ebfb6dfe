//! A connection's waker, which can be told not to ring for a moment.
//!
//! hyper wakes a connection whenever a piece of its request's body is taken: there is
//! room for the next one. It is the connection's own task that takes it, and after the
//! last piece there is none to make room for. That task would run once more for nothing,
//! with every small upload. So a connection is polled with its pace as the waker, and who
//! takes a piece decides afterwards whether the task has to run again.

use std::cell::Cell;
use std::sync::Arc;
use std::task::Wake;

use super::pace::Pace;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bell {
    Rings,
    Held,
    /// It would have rung since it is held.
    Missed,
}

thread_local! {
    // Of the thread, not of the connection: another thread's word always counts.
    static BELL: Cell<Bell> = const { Cell::new(Bell::Rings) };
}

impl Wake for Pace {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if BELL.get() == Bell::Rings {
            self.ending.wake();
        } else {
            BELL.set(Bell::Missed);
        }
    }
}

/// Does `work`, which touches one connection only, without waking it; says whether it
/// would have been woken.
pub(super) fn hold<T>(work: impl FnOnce() -> T) -> (T, bool) {
    let held = Hold::new();
    let done = work();
    let missed = BELL.get() == Bell::Missed;
    drop(held);
    (done, missed)
}

/// Rings again when dropped, however `work` ends.
struct Hold;

impl Hold {
    fn new() -> Self {
        BELL.set(Bell::Held);
        Self
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        BELL.set(Bell::Rings);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            // Relaxed: threads are joined before it is read.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connection() -> (Arc<Task>, Waker) {
        let (task, pace) = (Arc::new(Task::default()), Arc::new(Pace::default()));
        pace.ending.belongs_to(&Waker::from(Arc::clone(&task)));
        (task, Waker::from(pace))
    }

    #[test]
    fn what_is_missed_while_it_is_held_is_told_and_does_not_wake() {
        let (task, bell) = connection();
        assert_eq!(hold(|| 7), (7, false));
        assert_eq!(hold(|| bell.wake_by_ref()), ((), true));
        assert_eq!(task.0.load(Ordering::Relaxed), 0);
        bell.wake_by_ref();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn another_thread_wakes_meanwhile() {
        let (task, bell) = connection();
        let elsewhere = || std::thread::spawn(move || bell.wake()).join().is_ok();
        assert_eq!(hold(elsewhere), (true, false));
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn it_rings_again_after_a_panic() {
        let (task, bell) = connection();
        let panics = std::panic::catch_unwind(|| hold(|| panic!("in the body")));
        assert!(panics.is_err());
        bell.wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }
}
