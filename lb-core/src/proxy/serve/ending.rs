//! Asking connections to finish, at no cost to those that nobody asks.
//!
//! A connection looks at one flag whenever it runs anyway, and leaves its waker
//! once: whoever sets the flag wakes it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

// All orderings here are relaxed: a worker and its connections are one thread.

/// Shared by one connection and its worker.
#[derive(Debug, Default)]
pub(super) struct Ending {
    asked: AtomicBool,
    /// A task keeps its waker for life.
    waker: OnceLock<Waker>,
}

impl Ending {
    /// The connection's task is woken by `waker`.
    pub(super) fn belongs_to(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// `true` once the connection is to finish; until then it is woken for that.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The connection is to finish what has begun, and end.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Wakes the connection's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}
