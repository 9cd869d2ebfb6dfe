//! Picks, requests in flight and the reasons against one endpoint, in one word.
//!
//! From the low end: 19 bits of requests in flight, 6 bits of causes, 39 bits of
//! picks. One atomic addition counts a request *and* tells whether it may stay,
//! because all changes of one word have one order: no request can slip in after
//! a drain saw the endpoint idle.

use crate::sync::{AtomicU64, Ordering};

const CAUSES_AT: u32 = 19;
const PICKS_AT: u32 = 25;
const IN_FLIGHT: u64 = (1 << CAUSES_AT) - 1;
const CAUSES: u64 = (1 << (PICKS_AT - CAUSES_AT)) - 1;
const PICK: u64 = 1 << PICKS_AT;

/// No endpoint takes more requests at once than this (458,752): what is left of
/// the 19 bits is for requests that come in and are refused at the same moment.
const MOST_IN_FLIGHT: u32 = (1 << CAUSES_AT) - (1 << 16);

/// The endpoint takes no request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// As [`Traffic::leave`]: somebody may be waiting for the endpoint to become idle.
    pub(crate) wake: bool,
}

/// Counters and causes of one endpoint.
#[derive(Debug)]
pub(crate) struct Traffic(AtomicU64);

fn in_flight(word: u64) -> u32 {
    (word & IN_FLIGHT) as u32
}

fn causes(word: u64) -> u32 {
    ((word >> CAUSES_AT) & CAUSES) as u32
}

/// Of the word before a request ended against whose endpoint some cause stands: few do.
#[cold]
fn was_last(word: u64) -> bool {
    in_flight(word) == 1
}

impl Traffic {
    pub(crate) fn new(causes: u32) -> Self {
        Self(AtomicU64::new((u64::from(causes) & CAUSES) << CAUSES_AT))
    }

    /// Requests in flight.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        // Relaxed: a figure for choosing. It orders no other memory.
        in_flight(self.0.load(Ordering::Relaxed))
    }

    /// Picks so far.
    #[inline]
    pub(crate) fn picks(&self) -> u64 {
        // Relaxed: a statistic.
        self.0.load(Ordering::Relaxed) >> PICKS_AT
    }

    /// The reasons against new requests, as [`Cause`](super::Cause) bits.
    #[inline]
    pub(crate) fn causes(&self) -> u32 {
        // Relaxed: `enter` looks again before a request counts.
        causes(self.0.load(Ordering::Relaxed))
    }

    /// Requests in flight, if [`enter`](Self::enter) would let another one in.
    #[inline]
    pub(crate) fn room_left(&self, mask: u32, limit: u32) -> Option<u32> {
        // Relaxed: as `causes`.
        let word = self.0.load(Ordering::Relaxed);
        let in_flight = in_flight(word);
        (causes(word) & mask == 0 && in_flight < limit).then_some(in_flight)
    }

    /// Counts one more request, unless one of the causes in `mask` stands
    /// against it or `limit` requests are in flight already.
    ///
    /// # Errors
    ///
    /// [`Refused`] if it may not; no count keeps a trace of it.
    #[inline]
    pub(crate) fn enter(&self, mask: u32, limit: u32) -> Result<(), Refused> {
        // AcqRel: what the endpoint did before belongs before this request.
        let before = self.0.fetch_add(PICK + 1, Ordering::AcqRel);
        if causes(before) & mask == 0 && in_flight(before) < limit.min(MOST_IN_FLIGHT) {
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
        // AcqRel: what this request did happens before whoever sees it gone.
        let before = self.0.fetch_sub(counts, Ordering::AcqRel);
        causes(before) != 0 && was_last(before)
    }

    /// Sets or clears causes; returns what stood before.
    pub(crate) fn set(&self, bits: u32, on: bool) -> u32 {
        let bits = (u64::from(bits) & CAUSES) << CAUSES_AT;
        // AcqRel: as `end`.
        let before = if on {
            self.0.fetch_or(bits, Ordering::AcqRel)
        } else {
            self.0.fetch_and(!bits, Ordering::AcqRel)
        };
        causes(before)
    }

    /// Nothing in flight.
    pub(crate) fn is_idle(&self) -> bool {
        // Acquire: what the requests did is done when they are seen gone.
        in_flight(self.0.load(Ordering::Acquire)) == 0
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
mod loom_tests;
