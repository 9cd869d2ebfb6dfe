//! Picks and requests in flight of one endpoint, in one word.
//!
//! The low 24 bits count requests in flight, the high 40 bits count picks, so
//! that one atomic addition counts both. More than 16 million requests at once
//! on one endpoint would show in the picks until they end; nothing is lost.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

const IN_FLIGHT_BITS: u32 = 24;
const IN_FLIGHT: u64 = (1 << IN_FLIGHT_BITS) - 1;
const PICK: u64 = 1 << IN_FLIGHT_BITS;

/// The endpoint takes no request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// As [`Traffic::leave`]: somebody may be waiting for the endpoint to become idle.
    pub(crate) wake: bool,
}

/// Counters and the reasons against the endpoint, side by side on one cache line.
#[derive(Debug)]
pub(crate) struct Traffic {
    word: AtomicU64,
    causes: AtomicU32,
}

impl Traffic {
    pub(crate) fn new(causes: u32) -> Self {
        Self {
            word: AtomicU64::new(0),
            causes: AtomicU32::new(causes),
        }
    }

    /// Requests in flight.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        // Relaxed: a figure for choosing. It orders no other memory.
        (self.word.load(Ordering::Relaxed) & IN_FLIGHT) as u32
    }

    /// Picks so far.
    #[inline]
    pub(crate) fn picks(&self) -> u64 {
        // Relaxed: a statistic.
        self.word.load(Ordering::Relaxed) >> IN_FLIGHT_BITS
    }

    /// The reasons against new requests, as [`Cause`](super::Cause) bits.
    #[inline]
    pub(crate) fn causes(&self) -> u32 {
        // Relaxed: `enter` looks again before a request counts.
        self.causes.load(Ordering::Relaxed)
    }

    /// Counts one more request, unless one of the causes in `mask` stands
    /// against it or `limit` requests are in flight already.
    ///
    /// Counting comes first and looking second; [`set`](Self::set) followed by
    /// [`is_idle`](Self::is_idle) does the reverse. With `SeqCst` on all four
    /// one of the two sees the other, so that no request slips in after a
    /// drain found the endpoint idle.
    ///
    /// # Errors
    ///
    /// [`Refused`] if it may not; neither count keeps a trace of it.
    #[inline]
    pub(crate) fn enter(&self, mask: u32, limit: u32) -> Result<(), Refused> {
        let before = self.word.fetch_add(PICK + 1, Ordering::SeqCst) & IN_FLIGHT;
        if self.causes.load(Ordering::SeqCst) & mask == 0 && before < u64::from(limit) {
            return Ok(());
        }
        // A drain may have seen this attempt as a request and wait for its end.
        let wake = self.end(PICK + 1);
        Err(Refused { wake })
    }

    /// One request less. `true` if it was the last and a cause stands, so that
    /// somebody may be waiting for the endpoint to become idle.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        self.end(1)
    }

    #[inline]
    fn end(&self, counts: u64) -> bool {
        let before = self.word.fetch_sub(counts, Ordering::SeqCst) & IN_FLIGHT;
        before == 1 && self.causes.load(Ordering::SeqCst) != 0
    }

    /// Sets or clears causes; returns what stood before.
    pub(crate) fn set(&self, bits: u32, on: bool) -> u32 {
        if on {
            self.causes.fetch_or(bits, Ordering::SeqCst)
        } else {
            self.causes.fetch_and(!bits, Ordering::SeqCst)
        }
    }

    /// Nothing in flight. Ordered after a preceding [`set`](Self::set).
    pub(crate) fn is_idle(&self) -> bool {
        self.word.load(Ordering::SeqCst) & IN_FLIGHT == 0
    }
}

#[cfg(all(test, not(lb_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_leaves_no_trace() {
        let traffic = Traffic::new(0);
        assert!(traffic.enter(u32::MAX, 1).is_ok());
        assert!(traffic.enter(u32::MAX, 1).is_err(), "full");
        traffic.set(1, true);
        assert!(traffic.enter(u32::MAX, 9).is_err(), "a cause stands");
        assert!(traffic.enter(!1, 9).is_ok(), "the mask overlooks the cause");
        assert_eq!((traffic.in_flight(), traffic.picks()), (2, 2));
    }

    #[test]
    fn the_last_one_to_leave_tells_whoever_drains() {
        let traffic = Traffic::new(0);
        assert!(traffic.enter(u32::MAX, 9).is_ok() && traffic.enter(u32::MAX, 9).is_ok());
        traffic.set(1, true);
        assert!(!traffic.leave());
        assert!(traffic.leave());
        assert!(traffic.is_idle());
    }
}

#[cfg(all(test, lb_loom))]
mod loom_tests {
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
}
