//! Quickest to answer.

use std::sync::Arc;

use crate::{
    candidates::{Candidates, Entry},
    endpoint::stamped::Moment,
    pick::{PickCx, Picker},
    policy::{Policy, draw::Draw},
};

/// An endpoint of which nothing is known counts as this much slower while its
/// first answers are awaited: one request finds out, the others go elsewhere.
const UNPROVEN: f64 = 10.0;

/// Of two endpoints drawn by weight, the one that will answer sooner: response
/// time as a peak-sensitive average, times the requests it already has.
///
/// * Failing fast is not fast: a failure never lowers the average, and recent
///   failures multiply the score.
/// * A new endpoint counts as the average of all while idle, and as slow while
///   its first request is under way: neither flooded nor starved.
/// * One that stopped answering counts as slow as it has been silent.
/// * Without samples an average fades, so that a slow endpoint is tried again.
///
/// O(1). Source: peak EWMA as in Finagle; power of two choices, Mitzenmacher.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LeastResponseTime {
    /// Recent failures count against an endpoint. Default: `true`.
    pub failure_aware: bool,
}

impl Default for LeastResponseTime {
    fn default() -> Self {
        Self {
            failure_aware: true,
        }
    }
}

impl LeastResponseTime {
    /// Whether recent failures count against an endpoint. Default: `true`.
    #[must_use]
    pub fn failure_aware(mut self, aware: bool) -> Self {
        self.failure_aware = aware;
        self
    }
}

impl Policy for LeastResponseTime {
    fn name(&self) -> &'static str {
        "least_response_time"
    }

    fn build(&self, candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
        Arc::new(ResponseTimePicker {
            config: self.clone(),
            draw: Draw::by_weight(candidates),
        })
    }
}

#[derive(Debug)]
struct ResponseTimePicker {
    config: LeastResponseTime,
    draw: Draw,
}

impl ResponseTimePicker {
    #[inline]
    fn cost(&self, entry: &Entry, in_flight: u32, now: Moment) -> f64 {
        let stats = &entry.stats;
        let seconds = match stats.peak_at(now) {
            Some(seconds) => seconds,
            None if stats.waiting() == 0 => stats.fleet().latency_seconds().unwrap_or(1.0),
            None => stats.fleet().latency_seconds().unwrap_or(1.0) * UNPROVEN,
        };
        let seconds = seconds.max(stats.silence_at(now));
        let queue = entry.by_weight(in_flight) + 1.0;
        let factor = if self.config.failure_aware {
            stats.failure_factor_at(now)
        } else {
            1.0
        };
        seconds * queue * factor
    }
}

impl Picker for ResponseTimePicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let now = candidates.moment(cx);
        self.draw
            .better_of_two(candidates, cx, |seen| {
                self.cost(seen.entry, seen.in_flight, now)
            })
            .or_else(|| candidates.any(cx))
    }

    fn score(&self, candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        let entry = candidates.entries.get(index)?;
        let in_flight = entry.stats.in_flight();
        Some(self.cost(entry, in_flight, candidates.moment(cx)))
    }

    fn times_requests(&self) -> bool {
        true
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let draw = self.draw.refreshed(candidates)?;
        Some(Arc::new(Self {
            config: self.config.clone(),
            draw,
        }))
    }
}
