//! One after the other.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{
    candidates::Candidates,
    pick::{PickCx, Picker},
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

    fn build(&self, _candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        Arc::new(Turn::new(random as u32))
    }
}

/// Whose turn it is. On cache lines of its own: every pick writes it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Turn(AtomicU32);

impl Turn {
    pub(crate) fn new(start: u32) -> Self {
        Self(AtomicU32::new(start))
    }

    /// The number of the next turn.
    pub(crate) fn start(&self) -> u32 {
        // Relaxed: as `take`.
        self.0.load(Ordering::Relaxed)
    }

    /// The number of this turn; a peek leaves it for the next.
    #[inline]
    pub(crate) fn take(&self, cx: &PickCx<'_>) -> u32 {
        // Relaxed: only the numbers matter, they order no other memory.
        if cx.is_peek() {
            self.0.load(Ordering::Relaxed)
        } else {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }
}

impl Picker for Turn {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        // A second try is by chance: it must not use up somebody's turn.
        if !cx.tried.is_empty() {
            return candidates.any(cx);
        }
        let available = candidates.available();
        let turn = self.take(cx).checked_rem(available.len() as u32)?;
        let index = *available.get(turn as usize)? as usize;
        if candidates.gate(cx).admits(index) {
            Some(index)
        } else {
            candidates.any(cx)
        }
    }
}
