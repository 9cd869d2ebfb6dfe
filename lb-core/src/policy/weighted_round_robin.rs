//! One after the other, by weight, smoothly.

use std::sync::Arc;

use crate::{
    candidates::Candidates,
    pick::{PickCx, Picker, place, step},
    policy::{Policy, draw::Draw, round_robin::Turn},
};

/// Longest cycle that is written out; beyond that weights are strided.
const LONGEST_CYCLE: u64 = 4096;
/// Turns of a stride that are looked at for one pick.
const PATIENCE: usize = 64;

/// Each available endpoint as often as its weight says, spread evenly: weights
/// 5, 1, 1 give `a a b a c a a` and not `a a a a a b c` (nginx's smooth
/// weighted round robin, precomputed as one cycle).
///
/// While the weights, reduced by their common divisor, sum to no more than
/// 4096 the cycle is exact. Larger ones are strided (gRPC's static stride
/// scheduler): exact over 65,535 rounds, smooth within. Where one weight is more than
/// some ten times the mean, most turns of a stride are nobody's: after 64 of them the
/// endpoint is drawn by weight, so that shares hold on average. Both are O(1) per pick
/// and start at a random place. A weight of 0 takes nothing. A second try of a
/// request goes to anybody else by weight and takes no turn.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct WeightedRoundRobin {}

impl Policy for WeightedRoundRobin {
    fn name(&self) -> &'static str {
        "weighted_round_robin"
    }

    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        let owners = candidates.available();
        let weights: Vec<u32> = owners
            .iter()
            .map(|index| candidates.weight(*index as usize))
            .collect();
        let schedule = Schedule::new(&weights);
        let turn = match &schedule {
            Schedule::Cycle { places, .. } => Turn::new(random, places.len()),
            Schedule::Stride(_) => Turn::counted_from(random),
        };
        Arc::new(WeightedPicker {
            owners: owners.into(),
            schedule,
            turn,
            draw: Draw::by_weight(candidates),
        })
    }
}

#[derive(Debug)]
struct WeightedPicker {
    owners: Box<[u32]>,
    schedule: Schedule,
    turn: Turn,
    draw: Draw,
}

impl WeightedPicker {
    /// Whose turn it is; `None` if nobody is known, or too many turns were nobody's.
    #[inline]
    fn whose(&self, cx: &PickCx<'_>) -> Option<usize> {
        let place = match &self.schedule {
            Schedule::Cycle { places, step } => {
                *places.get(place(self.turn.take(cx, *step), places.len()))? as usize
            }
            // Truncation is the wrap.
            Schedule::Stride(scaled) => {
                (0..PATIENCE).find_map(|_| strides(scaled, self.turn.take(cx, 1) as u32))?
            }
        };
        Some(*self.owners.get(place)? as usize)
    }

    /// Somebody by weight, without using up a turn: for second tries, and for
    /// those whose turn is nobody's, or at an endpoint that cannot take them.
    #[cold]
    fn by_chance(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let mut state = cx.random;
        let drawn = self.draw.admitted(candidates, cx, &mut state, None);
        drawn.or_else(|| candidates.any(cx))
    }
}

impl Picker for WeightedPicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        if !cx.tried.is_empty() {
            return self.by_chance(candidates, cx);
        }
        match self.whose(cx) {
            Some(index) if candidates.gate(cx).admits(index) => Some(index),
            _ => self.by_chance(candidates, cx),
        }
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let start = self.turn.start();
        Some(WeightedRoundRobin::default().build(candidates, start))
    }
}

/// Who has which turn.
#[derive(Debug)]
enum Schedule {
    /// Written out.
    Cycle { places: Box<[u32]>, step: u64 },
    /// Weights scaled to the largest being 65,535.
    Stride(Box<[u16]>),
}

impl Schedule {
    fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
        let reduced: Vec<u32> = weights.iter().map(|weight| weight / divisor).collect();
        let sum: u64 = reduced.iter().map(|weight| u64::from(*weight)).sum();
        if reduced.iter().all(|weight| *weight <= 1) {
            let all = 0..weights.len() as u32;
            return Self::cycle(all.filter(|i| reduced[*i as usize] > 0).collect());
        }
        if sum <= LONGEST_CYCLE {
            let mut smooth = SmoothWeights::new(&reduced);
            let cycle = (0..sum).filter_map(|_| smooth.next());
            return Self::cycle(cycle.map(|i| i as u32).collect());
        }
        let most = u64::from(weights.iter().copied().max().unwrap_or(1)).max(1);
        let scale = |weight: u32| match u64::from(weight) * u64::from(u16::MAX) / most {
            0 if weight > 0 => 1,
            scaled => scaled as u16,
        };
        Self::Stride(weights.iter().copied().map(scale).collect())
    }

    fn cycle(places: Box<[u32]>) -> Self {
        let step = step(places.len());
        Self::Cycle { places, step }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether the endpoint whose turn it is takes it: gRPC's static stride rule,
/// with each endpoint's turns shifted against the others'.
fn strides(scaled: &[u16], turn: u32) -> Option<usize> {
    const TOP: u64 = u16::MAX as u64;
    let n = scaled.len() as u32;
    let index = turn.checked_rem(n)? as usize;
    let generation = u64::from(turn / n);
    let weight = u64::from(scaled[index]);
    let offset = TOP / 2 * index as u64;
    ((weight * generation + offset) % TOP >= TOP - weight).then_some(index)
}

/// nginx's smooth weighted round robin, one pick at a time: every pick adds
/// each weight to its counter; the highest (the first on a tie) wins and gives
/// back the sum.
///
/// ```
/// use lb_core::policy::SmoothWeights;
///
/// let order: Vec<_> = SmoothWeights::new(&[5, 1, 1]).take(7).collect();
/// assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
/// ```
#[derive(Clone, Debug)]
pub struct SmoothWeights {
    weights: Box<[i64]>,
    counters: Box<[i64]>,
    sum: i64,
}

impl SmoothWeights {
    /// Starts fresh. Endpoints of weight 0 never win.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        let weights: Box<[i64]> = weights.iter().map(|weight| i64::from(*weight)).collect();
        Self {
            sum: weights.iter().sum(),
            counters: vec![0; weights.len()].into(),
            weights,
        }
    }
}

/// Endless, but empty if no weight is above zero.
impl Iterator for SmoothWeights {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (i, weight) in self
            .weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 0)
        {
            self.counters[i] += weight;
            if best.is_none_or(|best| self.counters[i] > self.counters[best]) {
                best = Some(i);
            }
        }
        self.counters[best?] -= self.sum;
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Over a whole cycle everybody gets exactly the weight.
        #[test]
        fn the_cycle_is_exact(weights in prop::collection::vec(0u32..30, 1..20)) {
            let sum: u32 = weights.iter().sum();
            let mut got = vec![0u32; weights.len()];
            for i in SmoothWeights::new(&weights).take(sum as usize) {
                got[i] += 1;
            }
            prop_assert_eq!(got, weights);
        }

        /// Over 65,535 rounds the stride gives everybody exactly the scaled weight.
        #[test]
        fn the_stride_is_exact(scaled in prop::collection::vec(1u16..=u16::MAX, 1..6)) {
            let mut got = vec![0u32; scaled.len()];
            for turn in 0..65_535 * scaled.len() as u32 {
                if let Some(i) = strides(&scaled, turn) {
                    got[i] += 1;
                }
            }
            let wanted: Vec<u32> = scaled.iter().map(|weight| u32::from(*weight)).collect();
            prop_assert_eq!(got, wanted);
        }
    }
}
