//! Random draws by weight, O(1) each: Vose's alias method (1991).

use crate::{
    candidates::{Candidates, Seen},
    pick::{PickCx, below, next_bits},
};

/// Draws available endpoints, each as often as its weight says.
#[derive(Debug)]
pub(crate) struct Draw {
    /// Per slot: its endpoint, keep it below this many of 2^32, else the other.
    /// `None` while all weights are equal: then any available one will do.
    slots: Option<Box<[Slot]>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot {
    own: u32,
    other: u32,
    keep_below: u32,
}

impl Draw {
    pub(crate) fn by_weight(candidates: &Candidates) -> Self {
        if candidates.evenly_weighted() {
            return Self { slots: None };
        }
        let weights: Vec<f64> = candidates
            .available()
            .iter()
            .map(|index| f64::from(candidates.weight(*index as usize)))
            .collect();
        Self {
            slots: Some(alias(candidates.available(), &weights)),
        }
    }

    /// A table for those available now; `None` if this one will do, because
    /// all weights are equal and nothing depends on who is available.
    pub(crate) fn refreshed(&self, candidates: &Candidates) -> Option<Self> {
        let even = self.slots.is_none() && candidates.evenly_weighted();
        (!even).then(|| Self::by_weight(candidates))
    }

    /// All weights are equal.
    #[inline]
    pub(crate) fn is_even(&self) -> bool {
        self.slots.is_none()
    }

    /// One endpoint; `None` if there is none. It may have become unavailable.
    #[inline]
    pub(crate) fn one(&self, candidates: &Candidates, state: &mut u64) -> Option<usize> {
        let bits = next_bits(state);
        match &self.slots {
            None => {
                let available = candidates.available();
                available
                    .get(below(bits, available.len()))
                    .map(|index| *index as usize)
            }
            Some(slots) => {
                let slot = slots.get(below(bits, slots.len()))?;
                let index = if next_bits(state) < slot.keep_below {
                    slot.own
                } else {
                    slot.other
                };
                Some(index as usize)
            }
        }
    }

    /// Two different endpoints that admit the request, compared by `load`; the
    /// first drawn wins a tie. A few attempts each; `None` if they all failed.
    #[inline]
    pub(crate) fn better_of_two(
        &self,
        candidates: &Candidates,
        cx: &PickCx<'_>,
        load: impl Fn(&Seen<'_>) -> f64,
    ) -> Option<usize> {
        let gate = candidates.gate(cx);
        let see = |(first, second)| Some((gate.see(first)?, gate.see(second)?));
        let (first, second) = match self.two(candidates, cx.random).and_then(see) {
            Some(two) => two,
            None => self.two_admitted(candidates, cx).and_then(see)?,
        };
        if load(&second) < load(&first) {
            Some(second.index)
        } else {
            Some(first.index)
        }
    }

    /// Two different endpoints in one step; with weights only if luck has it.
    #[inline]
    fn two(&self, candidates: &Candidates, random: u64) -> Option<(usize, usize)> {
        if self.slots.is_some() {
            let mut state = random;
            let first = self.one(candidates, &mut state)?;
            let second = self.one(candidates, &mut state)?;
            return (first != second).then_some((first, second));
        }
        let available = candidates.available();
        let others = available
            .len()
            .checked_sub(1)
            .filter(|others| *others > 0)?;
        let first = below((random >> 32) as u32, available.len());
        let second = below(random as u32, others);
        // Whoever comes after the first moved up by one.
        let second = second + usize::from(second >= first);
        Some((candidates.nth(first)?, candidates.nth(second)?))
    }

    /// The same, trying again; twice the same endpoint if there is no other.
    #[cold]
    #[inline(never)]
    fn two_admitted(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<(usize, usize)> {
        let mut state = cx.random;
        let first = self.admitted(candidates, cx, &mut state, None)?;
        let second = self.admitted(candidates, cx, &mut state, Some(first));
        Some((first, second.unwrap_or(first)))
    }

    /// Up to `K` different endpoints that admit the request: all of them if
    /// there are no more than `K`, else drawn by weight.
    #[inline]
    pub(crate) fn several<const K: usize>(
        &self,
        candidates: &Candidates,
        cx: &PickCx<'_>,
    ) -> Drawn<K> {
        let available = candidates.available();
        let gate = candidates.gate(cx);
        let mut drawn = Drawn {
            indices: [0; K],
            len: 0,
            all: available.len() <= K,
        };
        if drawn.all {
            for index in available {
                if gate.admits(*index as usize) {
                    drawn.add(*index as usize);
                }
            }
            return drawn;
        }
        let mut state = cx.random;
        for _ in 0..2 * K {
            let Some(index) = self.one(candidates, &mut state) else {
                break;
            };
            if drawn.len < K && !drawn.as_slice().contains(&index) && gate.admits(index) {
                drawn.add(index);
            }
        }
        drawn
    }

    #[inline]
    pub(crate) fn admitted(
        &self,
        candidates: &Candidates,
        cx: &PickCx<'_>,
        state: &mut u64,
        but: Option<usize>,
    ) -> Option<usize> {
        const ATTEMPTS: usize = 5;
        let gate = candidates.gate(cx);
        (0..ATTEMPTS)
            .filter_map(|_| self.one(candidates, state))
            .find(|index| Some(*index) != but && gate.admits(*index))
    }
}

/// A few endpoints, none twice.
#[derive(Debug)]
pub(crate) struct Drawn<const K: usize> {
    indices: [usize; K],
    len: usize,
    /// Nobody was left to chance: they stand in their order, not in a drawn one.
    all: bool,
}

impl<const K: usize> Drawn<K> {
    #[inline]
    fn add(&mut self, index: usize) {
        if let Some(place) = self.indices.get_mut(self.len) {
            *place = index;
            self.len += 1;
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[usize] {
        &self.indices[..self.len]
    }

    /// One of them by chance.
    #[inline]
    pub(crate) fn one(&self, random: u64) -> Option<usize> {
        let at = below((random >> 32) as u32, self.len);
        self.as_slice().get(at).copied()
    }

    /// The one with the lowest score. Of equals the first drawn wins, or if all
    /// take part each as often as its weight says.
    #[inline]
    pub(crate) fn least(
        &self,
        candidates: &Candidates,
        cx: &PickCx<'_>,
        score: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let mut best = Least::new(cx.random);
        for index in self.as_slice() {
            let weight = if self.all {
                candidates.weight(*index)
            } else {
                0
            };
            best.offer(*index, score(*index), weight);
        }
        best.index()
    }
}

/// The least of several, found in one pass; of equals each by its weight.
#[derive(Debug)]
pub(crate) struct Least {
    best: Option<usize>,
    least: f64,
    /// Weight of those that are equally good.
    tied: f64,
    /// How many they are.
    ties: usize,
    state: u64,
}

impl Least {
    #[inline]
    pub(crate) fn new(random: u64) -> Self {
        Self {
            best: None,
            least: f64::INFINITY,
            tied: 0.0,
            ties: 0,
            state: random,
        }
    }

    /// One more; with weight 0 it takes no part in a tie.
    #[inline]
    pub(crate) fn offer(&mut self, index: usize, score: f64, weight: u32) {
        let weight = f64::from(weight);
        if score < self.least || self.best.is_none() {
            (self.best, self.least, self.tied) = (Some(index), score, weight);
        } else if score <= self.least && weight > 0.0 {
            self.tied += weight;
            // Replaces the best so far with probability weight / tied.
            if f64::from(next_bits(&mut self.state)) * self.tied < weight * 4_294_967_296.0 {
                self.best = Some(index);
            }
        }
    }

    /// As [`offer`](Self::offer), where all weights are equal.
    #[inline]
    pub(crate) fn offer_even(&mut self, index: usize, score: f64) {
        if score < self.least || self.best.is_none() {
            (self.best, self.least, self.ties) = (Some(index), score, 1);
        } else if score <= self.least {
            self.ties += 1;
            if below(next_bits(&mut self.state), self.ties) == 0 {
                self.best = Some(index);
            }
        }
    }

    #[inline]
    pub(crate) fn index(&self) -> Option<usize> {
        self.best
    }
}

/// Splits the weights over as many equal slots, at most two owners each.
fn alias(owners: &[u32], weights: &[f64]) -> Box<[Slot]> {
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let mut left: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
    let mut slots: Vec<Slot> = owners
        .iter()
        .map(|own| Slot {
            own: *own,
            other: *own,
            keep_below: u32::MAX,
        })
        .collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..left.len()).partition(|i| left[*i] < 1.0);
    while let (Some(poor), Some(rich)) = (small.pop(), large.pop()) {
        slots[poor].other = owners[rich];
        // `as` saturates at the whole slot.
        slots[poor].keep_below = (left[poor] * 4_294_967_296.0) as u32;
        left[rich] -= 1.0 - left[poor];
        let side = if left[rich] < 1.0 {
            &mut small
        } else {
            &mut large
        };
        side.push(rich);
    }
    slots.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The table gives every owner exactly its share of the weights.
        #[test]
        fn the_table_holds_the_exact_shares(weights in prop::collection::vec(1u32..10_000, 1..60)) {
            let owners: Vec<u32> = (0..weights.len() as u32).collect();
            let numbers: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
            let mut shares = vec![0.0; weights.len()];
            for slot in alias(&owners, &numbers) {
                let keep = if slot.own == slot.other { 1.0 } else { f64::from(slot.keep_below) / 4_294_967_296.0 };
                shares[slot.own as usize] += keep;
                shares[slot.other as usize] += 1.0 - keep;
            }
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            for (share, weight) in shares.iter().zip(&numbers) {
                prop_assert!((share - weight / mean).abs() < 1e-6, "{share} for {weight}");
            }
        }
    }
}
