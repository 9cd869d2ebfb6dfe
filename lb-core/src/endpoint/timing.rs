//! How many requests are timed.
//!
//! To time a request costs two looks at the clock and some arithmetic, as much as to balance
//! it. Averages are written with their [`Tick`] (66 µs), and many samples of one tick say
//! hardly more than a few of them.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::endpoint::stamped::Tick;

/// Of the requests that begin in one tick so many are timed. 8 in 66 µs are 122,000 a second.
const PER_TICK: u32 = 8;

/// How many timed requests began in the current tick.
///
/// In one word: the low bits of the tick, and the count. The bits that are cut off make ticks
/// five hours apart alike.
#[derive(Debug, Default)]
pub(super) struct Quota(AtomicU32);

impl Quota {
    /// How many of this tick came before, [`PER_TICK`] for all others. Of requests that begin
    /// on two threads at the same moment one may be lost.
    #[inline]
    pub(super) fn begin(&self, now: Tick) -> u32 {
        // Relaxed: the word is complete in itself.
        let word = self.0.load(Ordering::Relaxed);
        let none = now.0.wrapping_mul(2 * PER_TICK);
        let before = word.wrapping_sub(none);
        if before == PER_TICK {
            return PER_TICK;
        }
        // Else the word is of another tick.
        let before = if before < PER_TICK { before } else { 0 };
        // Relaxed: as above.
        self.0.store(none + before + 1, Ordering::Relaxed);
        before
    }

    /// Whether a request that begins now is one of those that are timed. That has nothing to
    /// do with how long it will take.
    #[inline]
    pub(super) fn take(&self, now: Tick) -> bool {
        self.begin(now) < PER_TICK
    }
}

/// Lots for a pool whose policy asks for no times: its requests are timed for status.
///
/// While they are few all are, and up to one in [`SELDOM`](Self::SELDOM) when they are many:
/// whenever more than [`PER_TICK`] were drawn in one tick half as many are from then on, and
/// with every new tick twice as many.
#[derive(Debug, Default)]
pub(crate) struct Lots {
    /// Random bits that must be zero.
    mask: AtomicU32,
    drawn: Quota,
}

impl Lots {
    const SELDOM: u32 = 64;

    /// Whether the request with these random bits is timed. Then it says so when it
    /// [begins](Self::begin).
    #[inline]
    pub(crate) fn draw(&self, random: u64) -> bool {
        // Relaxed: a share, which may be a little old.
        random as u32 & self.mask.load(Ordering::Relaxed) == 0
    }

    /// A request that was drawn begins now.
    pub(crate) fn begin(&self, now: Tick) {
        // Relaxed: as `draw`; of two changes at once one is enough.
        let mask = self.mask.load(Ordering::Relaxed);
        let next = match self.drawn.begin(now) {
            0 => mask >> 1,
            PER_TICK => (2 * mask + 1).min(Self::SELDOM - 1),
            _ => return,
        };
        if next != mask {
            self.mask.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Of each tick the first few, whatever came before.
        #[test]
        fn each_tick_has_its_own(ticks in prop::collection::vec((1u32..1_000_000, 1usize..20), 1..50)) {
            let quota = Quota::default();
            let mut now = Tick(0);
            for (passed, requests) in ticks {
                now = Tick(now.0.wrapping_add(passed));
                let timed = (0..requests).filter(|_| quota.take(now)).count();
                prop_assert_eq!(timed, requests.min(PER_TICK as usize));
            }
        }
    }

    /// How many of so many requests per tick are drawn, in each of many ticks.
    fn drawn(lots: &Lots, ticks: std::ops::Range<u32>, requests: u32) -> Vec<usize> {
        let mut random = fastrand::Rng::with_seed(7);
        let tick = |tick| {
            let draws = (0..requests).filter(|_| {
                let drawn = lots.draw(random.u64(..));
                if drawn {
                    lots.begin(Tick(tick));
                }
                drawn
            });
            draws.count()
        };
        ticks.map(tick).collect()
    }

    #[test]
    fn few_requests_are_all_timed_and_many_seldom() {
        let lots = Lots::default();
        assert!(drawn(&lots, 0..100, 4).iter().all(|drawn| *drawn == 4));
        let many = drawn(&lots, 100..1_100, 500);
        let mean = many.iter().sum::<usize>() / many.len();
        assert!((4..=16).contains(&mean), "{mean} of 500 in each tick");
        // And soon all again.
        let few = drawn(&lots, 1_100..3_100, 1);
        assert!(few[1_000..].iter().all(|drawn| *drawn == 1));
    }
}
