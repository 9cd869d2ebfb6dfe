//! A request that is counted at an endpoint, in two words.
//!
//! What a pick finds is handed on in registers, and moved once, to where the request keeps
//! it. Parts of different sizes, written one by one and moved together at once, would wait
//! for each other: a processor cannot hand several small writes on as one large read.

use std::sync::Arc;

use crate::{endpoint::Endpoint, pool::known};

/// An endpoint where the request is counted already. Who gets it makes it [`Counted`].
#[must_use = "nobody else ends the request"]
pub(crate) struct Picked {
    endpoint: Arc<Endpoint>,
    ticket: Ticket,
}

/// A request that is counted at an endpoint until this is dropped. It keeps the endpoint
/// alive; the thread that drops it keeps the reference for its next request there.
pub(crate) struct Counted {
    endpoint: Option<Arc<Endpoint>>,
    ticket: Ticket,
}

/// What is known of a counted request, in one word.
///
/// From the low end: 32 bits for the index of the endpoint, 8 for the place where threads
/// keep the pool, then a bit for each mark.
#[derive(Clone, Copy)]
struct Ticket(u64);

const PLACE_AT: u32 = 32;
const TIMED: u64 = 1 << 40;
const ANSWERED: u64 = 1 << 41;
const TOLD: u64 = 1 << 42;
const HELD: &str = "invariant: only drop takes it";

impl Picked {
    #[inline]
    pub(super) fn new(endpoint: Arc<Endpoint>, index: usize, place: u8, timed: bool) -> Self {
        let mark = if timed { TIMED } else { 0 };
        let place = u64::from(place) << PLACE_AT;
        let ticket = Ticket(u64::from(index as u32) | place | mark);
        Self { endpoint, ticket }
    }
}

impl Ticket {
    #[inline]
    fn index(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    fn place(self) -> usize {
        usize::from((self.0 >> PLACE_AT) as u8)
    }

    #[inline]
    fn has(self, mark: u64) -> bool {
        self.0 & mark != 0
    }

    /// Whether the mark was there before.
    #[inline]
    fn set(&mut self, mark: u64) -> bool {
        let before = self.has(mark);
        self.0 |= mark;
        before
    }
}

impl From<Picked> for Counted {
    #[inline]
    fn from(picked: Picked) -> Self {
        Self {
            endpoint: Some(picked.endpoint),
            ticket: picked.ticket,
        }
    }
}

impl Counted {
    #[inline]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.endpoint.as_deref().expect(HELD)
    }

    /// The place of the endpoint in the pool when it was picked.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.ticket.index()
    }

    /// Response times are to be learned of this request.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.ticket.has(TIMED)
    }

    /// From now on they are.
    pub(crate) fn set_timed(&mut self) {
        self.ticket.set(TIMED);
    }

    /// Whether nobody told before how it ended: only the first word counts.
    #[inline]
    pub(crate) fn may_tell(&mut self) -> bool {
        !self.ticket.set(TOLD)
    }

    /// Its answer began, see [`Stats::waiting`](crate::endpoint::Stats::waiting).
    pub(crate) fn answer(&mut self) {
        self.ticket.set(ANSWERED);
        self.endpoint().stats.answer();
    }
}

impl Drop for Counted {
    #[inline]
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.endpoint().stats.leave(ticket.has(ANSWERED));
        known::give_back(ticket.place(), ticket.index(), &mut self.endpoint);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ticket_keeps_its_parts_apart(index: u32, place: u8, timed: bool, marks in 0u64..8) {
            let endpoint = crate::Pool::builder("a").endpoints(["http://10.0.0.1"]).build().unwrap();
            let endpoint = endpoint.endpoints().remove(0);
            let Picked { mut ticket, .. } = Picked::new(endpoint, index as usize, place, timed);
            prop_assert_eq!(ticket.has(TIMED), timed);
            prop_assert!(!ticket.has(ANSWERED) && !ticket.has(TOLD));
            for (bit, mark) in [TIMED, ANSWERED, TOLD].into_iter().enumerate() {
                if marks >> bit & 1 == 1 {
                    ticket.set(mark);
                }
            }
            prop_assert_eq!((ticket.index(), ticket.place()), (index as usize, usize::from(place)));
        }
    }
}
