//! Fewest requests in flight.

use std::sync::Arc;

use crate::{
    candidates::Candidates,
    error::ConfigError,
    pick::{PickCx, Picker, next_bits},
    policy::{Policy, draw::Draw},
};

/// The endpoint with the fewest requests in flight for its weight.
///
/// Up to [`scan_up_to`](Self::scan_up_to) available endpoints all are compared
/// (exact, O(n)); beyond that two drawn by weight are (O(1), no herd). Equal
/// ones share by weight. An endpoint that recently failed most of its requests
/// counts as busier than it is, because failing fast looks like idling.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LeastRequest {
    /// Compare all available endpoints up to this many. Default: 32.
    pub scan_up_to: usize,
    /// Recent failures count against an endpoint. Default: `true`.
    pub failure_aware: bool,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self {
            scan_up_to: 32,
            failure_aware: true,
        }
    }
}

impl LeastRequest {
    /// Compare all available endpoints up to this many; 0 always draws two.
    /// Default: 32.
    #[must_use]
    pub fn scan_up_to(mut self, endpoints: usize) -> Self {
        self.scan_up_to = endpoints;
        self
    }

    /// Whether recent failures count against an endpoint. Default: `true`.
    #[must_use]
    pub fn failure_aware(mut self, aware: bool) -> Self {
        self.failure_aware = aware;
        self
    }
}

impl Policy for LeastRequest {
    fn name(&self) -> &'static str {
        "least_request"
    }

    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    fn build(&self, candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
        Arc::new(LeastRequestPicker {
            config: self.clone(),
            draw: Draw::by_weight(candidates),
        })
    }
}

#[derive(Debug)]
struct LeastRequestPicker {
    config: LeastRequest,
    draw: Draw,
}

impl LeastRequestPicker {
    /// Load relative to weight, plus what failures add. Zero when idle and
    /// well, so that equal endpoints are told apart by the draw alone.
    #[inline]
    fn load(&self, candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> f64 {
        let stats = candidates.stats(index);
        let load = f64::from(stats.in_flight()) / f64::from(candidates.weight(index));
        if self.config.failure_aware {
            load + stats.failure_factor(cx.now) - 1.0
        } else {
            load
        }
    }

    /// The least loaded of all; of equals each by its weight.
    fn scan(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let mut state = cx.random;
        let (mut best, mut least, mut tied) = (None, f64::INFINITY, 0.0);
        for index in candidates.available() {
            let index = *index as usize;
            if !candidates.admits(index, cx) {
                continue;
            }
            let load = self.load(candidates, cx, index);
            let weight = f64::from(candidates.weight(index));
            if load < least {
                (best, least, tied) = (Some(index), load, weight);
            } else if load <= least {
                tied += weight;
                // Replace the best so far with probability weight / tied.
                if f64::from(next_bits(&mut state)) * tied < weight * 4_294_967_296.0 {
                    best = Some(index);
                }
            }
        }
        best
    }
}

impl Picker for LeastRequestPicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let picked = if candidates.available().len() <= self.config.scan_up_to {
            self.scan(candidates, cx)
        } else {
            self.draw
                .better_of_two(candidates, cx, |index| self.load(candidates, cx, index))
        };
        picked.or_else(|| candidates.any(cx))
    }

    fn score(&self, candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        Some(self.load(candidates, cx, index))
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let draw = self.draw.refreshed(candidates)?;
        Some(Arc::new(Self {
            config: self.config.clone(),
            draw,
        }))
    }
}
