//! Hot or cold: requests in flight first, answer time second.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{
    candidates::Candidates,
    endpoint::stamped::Moment,
    error::ConfigError,
    pick::{PickCx, Picker, next_bits},
    policy::{
        Policy,
        draw::{Draw, Drawn},
    },
};

/// How many endpoints are compared.
const CHOICES: usize = 5;
/// The quantile follows one pick in this many: enough to learn, and threads
/// seldom meet on its cache line.
const LEARN_ONE_IN: u32 = 8;

/// Of five endpoints drawn by weight, those with more requests in flight than
/// most (the quantile) are hot. The quickest cold one wins; if all are hot, the
/// one with the fewest requests in flight.
///
/// In-flight counts and answer times are this gateway's own, so that nothing is
/// probed; recent failures count as load. O(1). Source: Wydrowski and others,
/// "Load is not what you should balance: introducing Prequal" (NSDI 2024).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Prequal {
    /// Share of endpoints that count as cold. Default: 0.84.
    pub quantile: f64,
    /// Recent failures count against an endpoint. Default: `true`.
    pub failure_aware: bool,
}

impl Default for Prequal {
    fn default() -> Self {
        Self {
            quantile: 0.84,
            failure_aware: true,
        }
    }
}

impl Prequal {
    /// Whether recent failures count against an endpoint. Default: `true`.
    #[must_use]
    pub fn failure_aware(mut self, aware: bool) -> Self {
        self.failure_aware = aware;
        self
    }
}

impl Policy for Prequal {
    fn name(&self) -> &'static str {
        "prequal"
    }

    fn check(&self) -> Result<(), ConfigError> {
        if (0.0..=1.0).contains(&self.quantile) {
            return Ok(());
        }
        Err(ConfigError::Range {
            what: "quantile",
            must: "a share from 0 to 1",
        })
    }

    fn build(&self, candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
        Arc::new(PrequalPicker {
            config: self.clone(),
            draw: Draw::by_weight(candidates),
            threshold: Arc::new(Quantile::default()),
        })
    }
}

#[derive(Debug)]
struct PrequalPicker {
    config: Prequal,
    draw: Draw,
    threshold: Arc<Quantile>,
}

impl PrequalPicker {
    #[inline]
    fn factor(&self, candidates: &Candidates, now: Moment, index: usize) -> f64 {
        if self.config.failure_aware {
            candidates.stats(index).failure_factor_at(now)
        } else {
            1.0
        }
    }

    /// Requests in flight by weight; failures count as such.
    #[inline]
    fn load(&self, candidates: &Candidates, now: Moment, index: usize) -> f64 {
        let in_flight = candidates.stats(index).in_flight();
        candidates.by_weight(in_flight, index) + self.factor(candidates, now, index) - 1.0
    }

    /// Cold ones by their answer time, all of them before any hot one.
    #[inline]
    fn rank(&self, candidates: &Candidates, now: Moment, hot: f64, index: usize) -> f64 {
        const HOT: f64 = 1e9;
        let load = self.load(candidates, now, index);
        if load > hot {
            return HOT + load;
        }
        let stats = candidates.stats(index);
        let expected = stats.expected_at(now).unwrap_or(0.0);
        expected.max(stats.silence_at(now)) * self.factor(candidates, now, index)
    }
}

impl Picker for PrequalPicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let drawn: Drawn<CHOICES> = self.draw.several(candidates, cx);
        let mut state = cx.random;
        let lot = next_bits(&mut state);
        let Some(any) = drawn.one(state) else {
            return candidates.any(cx);
        };
        let now = candidates.moment(cx);
        let hot = self.threshold.get();
        if !cx.is_peek() && lot.is_multiple_of(LEARN_ONE_IN) {
            self.threshold
                .learn(self.load(candidates, now, any), self.config.quantile);
        }
        drawn.least(candidates, cx, |index| {
            self.rank(candidates, now, hot, index)
        })
    }

    fn score(&self, candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        let now = candidates.moment(cx);
        Some(self.rank(candidates, now, self.threshold.get(), index))
    }

    fn times_requests(&self) -> bool {
        true
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let draw = self.draw.refreshed(candidates)?;
        Some(Arc::new(Self {
            config: self.config.clone(),
            draw,
            threshold: Arc::clone(&self.threshold),
        }))
    }
}

/// A quantile learned from a stream, a step at a time (Robbins and Monro).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Quantile(AtomicU32);

impl Quantile {
    const STEP: f64 = 0.1;

    fn get(&self) -> f64 {
        // Relaxed: an estimate; lost steps are harmless.
        f64::from(f32::from_bits(self.0.load(Ordering::Relaxed)))
    }

    fn learn(&self, sample: f64, quantile: f64) {
        let old = self.get();
        let step = if sample > old {
            quantile
        } else {
            quantile - 1.0
        };
        let new = (old + Self::STEP * step * old.max(1.0)).max(0.0);
        self.0.store((new as f32).to_bits(), Ordering::Relaxed);
    }
}
