//! Cuts a run into chunks and puts the parts together in one fixed order.

use std::collections::BTreeMap;

use super::Control;
use crate::moments::Moments;
use crate::rng::Stream;
use crate::sketch::Sketch;
use crate::spec::Plan;

/// Iterations of one chunk: a few milliseconds of work.
pub(super) const CHUNK: u64 = 1 << 16;
/// Iterations between two looks at the control.
const BLOCK: u64 = 1 << 12;

/// What one chunk found.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) moments: Moments,
    /// Inputs of the chunk's first sample without a finite value.
    pub(super) non_finite_example: Option<String>,
}

/// Computes chunk `index` into `sketch`. `None`: cancelled.
pub(super) fn compute(
    plan: &Plan,
    index: u64,
    control: &Control,
    sketch: &mut Sketch,
) -> Option<Part> {
    let spec = plan.spec();
    let mut stream = Stream::new(spec.seed, index);
    let mut values = Vec::with_capacity(plan.sampled_inputs().len());
    let mut part = Part::default();
    let mut left = CHUNK.min(spec.iterations - index * CHUNK);
    while left > 0 {
        if control.is_cancelled() {
            return None;
        }
        let block = left.min(BLOCK);
        for _ in 0..block {
            if let Some(output) = plan.sample(&mut stream, &mut values) {
                part.moments.add(output);
                sketch.add(output);
            } else if part.non_finite_example.is_none() {
                part.non_finite_example = Some(plan.describe(&values));
            }
        }
        left -= block;
        control.advance(block);
    }
    Some(part)
}

/// Merges parts in the order of their chunks, whatever order they arrive in.
///
/// Holds back at most as many parts as arrive while the slowest chunk is at
/// work: a hundred bytes each, 15 259 in the largest run.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    next: u64,
    waiting: BTreeMap<u64, Part>,
    merged: Part,
}

impl Assembly {
    pub(super) fn put(&mut self, index: u64, part: Part) {
        self.waiting.insert(index, part);
        while let Some(part) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.merged.moments.merge(&part.moments);
            let example = &mut self.merged.non_finite_example;
            *example = example.take().or(part.non_finite_example);
        }
    }

    pub(super) fn into_merged(self) -> Part {
        self.merged
    }
}
