//! Fewest requests in flight.

use std::sync::Arc;

use crate::{
    candidates::{Candidates, Entry, Seen},
    error::ConfigError,
    pick::{PickCx, Picker},
    policy::{
        Policy,
        draw::{Draw, Least},
    },
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
    /// Work that outlives its request counts as well. Default: `false`.
    pub active_work: bool,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self {
            scan_up_to: 32,
            failure_aware: true,
            active_work: false,
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

    /// Whether work that outlives its request (answered 202, or reported as
    /// `active_work`) counts like requests in flight, until a report or a minute
    /// says that it ended. Default: `false`. Several gateways that follow the
    /// same reports to the letter go to the same endpoint: then
    /// [`ResourceBased`](super::ResourceBased) is better.
    #[must_use]
    pub fn active_work(mut self, counts: bool) -> Self {
        self.active_work = counts;
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
    fn load(&self, seen: &Seen<'_>, cx: &PickCx<'_>) -> f64 {
        let entry = seen.entry;
        let load = if self.config.active_work {
            work(entry, cx)
        } else {
            entry.by_weight(seen.in_flight)
        };
        if self.config.failure_aware {
            load + entry.stats.failure_penalty(|| cx.now())
        } else {
            load
        }
    }

    /// The least loaded of all; of equals each by its weight.
    #[inline(never)]
    fn scan(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let gate = candidates.gate(cx);
        let even = self.draw.is_even();
        let mut best = Least::new(cx.random);
        for index in candidates.available() {
            if let Some(seen) = gate.see(*index as usize) {
                let load = self.load(&seen, cx);
                if even {
                    best.offer_even(seen.index, load);
                } else {
                    best.offer(seen.index, load, seen.entry.weight);
                }
            }
        }
        best.index()
    }
}

/// Work at an endpoint relative to its weight.
#[inline(never)]
fn work(entry: &Entry, cx: &PickCx<'_>) -> f64 {
    entry.stats.work(cx.now()) / f64::from(entry.weight)
}

impl Picker for LeastRequestPicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let picked = if candidates.available().len() <= self.config.scan_up_to {
            self.scan(candidates, cx)
        } else {
            self.draw
                .better_of_two(candidates, cx, |seen| self.load(seen, cx))
        };
        picked.or_else(|| candidates.any(cx))
    }

    fn score(&self, candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        let entry = candidates.entries.get(index)?;
        let in_flight = entry.stats.in_flight();
        let seen = Seen {
            index,
            entry,
            in_flight,
        };
        Some(self.load(&seen, cx))
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let draw = self.draw.refreshed(candidates)?;
        Some(Arc::new(Self {
            config: self.config.clone(),
            draw,
        }))
    }
}
