//! One after the other.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    candidates::Candidates,
    pick::{PickCx, Picker, place, step},
    policy::Policy,
};

/// Each available endpoint in turn, starting at a random one so that many
/// gateways started together do not march in step. Weights are ignored, but
/// for 0; see [`WeightedRoundRobin`](super::WeightedRoundRobin).
///
/// The turn goes over the available endpoints only, so that nobody inherits an
/// unavailable neighbour's share; a second try of a request goes to anybody else
/// by chance and takes no turn, so that retries do not bend the shares. O(1).
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct RoundRobin {}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round_robin"
    }

    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        let n = candidates.available().len();
        Arc::new(Turn::new(random, n))
    }
}

/// Whose turn it is: a share of the whole round, as a fraction of 2^64. On cache lines of
/// its own: every pick writes it.
///
/// Of `n` each turn adds [`step`], and the fraction times `n` is the place: a multiplication
/// where the remainder of a count would be a division. A step is rounded up by less than one
/// part of 2^64, so that turns stay exact for 2^64 / `n` of them, and the wrap is the round.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Turn(AtomicU64);

impl Turn {
    /// Begins with somebody of `n`.
    pub(crate) fn new(fraction: u64, n: usize) -> Self {
        let first = place(fraction, n) as u64;
        Self(AtomicU64::new(first.wrapping_mul(step(n))))
    }

    /// Begins with this count, for turns that are counted.
    pub(crate) fn counted_from(count: u64) -> Self {
        Self(AtomicU64::new(count))
    }

    /// The next turn.
    pub(crate) fn start(&self) -> u64 {
        // Relaxed: as `take`.
        self.0.load(Ordering::Relaxed)
    }

    /// This turn; a peek leaves it for the next.
    #[inline]
    pub(crate) fn take(&self, cx: &PickCx<'_>, step: u64) -> u64 {
        // Relaxed: only the numbers matter, they order no other memory.
        if cx.is_peek() {
            self.0.load(Ordering::Relaxed)
        } else {
            self.0.fetch_add(step, Ordering::Relaxed)
        }
    }
}

impl Picker for Turn {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        // A second try is by chance: it must not use up somebody's turn.
        if !cx.tried.is_empty() {
            return candidates.any(cx);
        }
        let turn = self.take(cx, candidates.step);
        let index = candidates.nth(place(turn, candidates.available().len()))?;
        if candidates.gate(cx).passes(index) {
            Some(index)
        } else {
            closely(candidates, cx, index)
        }
    }
}

/// Whose turn it is starts slowly, or is full.
#[cold]
#[inline(never)]
fn closely(candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<usize> {
    if candidates.admits(index, cx) {
        Some(index)
    } else {
        candidates.any(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Wherever it begins, every round has everybody once, in the same order.
        #[test]
        fn a_round_has_everybody_once(n in 1usize..2_000, first: u64, rounds in 1usize..5) {
            let turn = Turn::new(first, n);
            let cx = PickCx::new(crate::clock::now(), 0);
            let taken: Vec<_> = (0..n * rounds).map(|_| place(turn.take(&cx, step(n)), n)).collect();
            for pair in taken.windows(2) {
                prop_assert_eq!(pair[1], (pair[0] + 1) % n);
            }
        }
    }

    #[test]
    fn a_billion_turns_later_the_order_is_the_same() {
        for n in [1, 2, 3, 7, 10_000] {
            let late = step(n).wrapping_mul(1_000_000_000);
            let turns = (0..n as u64).map(|i| place(late.wrapping_add(i.wrapping_mul(step(n))), n));
            let mut seen: Vec<_> = turns.collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..n), "{n}");
        }
    }
}
