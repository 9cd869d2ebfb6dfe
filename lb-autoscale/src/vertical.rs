//! How big should one instance be? Advice only: nothing here acts.
//!
//! Utilization targets mean nothing while requests are wrong, so usage is
//! watched in a histogram whose buckets grow by 5 % and whose weights halve
//! every day, as the Kubernetes Vertical Pod Autoscaler does it (read in its
//! `recommender/model`). The request covers nine samples of ten, the limit
//! nearly all with a margin. Until a day was watched, the advice says so.
//!
//! ```
//! use lb_autoscale::vertical::Usage;
//! use lb_autoscale::UnixMillis;
//!
//! let mut cpu = Usage::cores();
//! for minute in 0..2_000 {
//!     let used = if minute % 20 == 0 { 2.0 } else { 0.5 };
//!     cpu.sample(used, UnixMillis::from_secs(minute * 60));
//! }
//! let advice = cpu.advice().expect("samples were taken");
//! assert!((0.5..0.7).contains(&advice.request), "{advice:?}");
//! assert!((2.0..2.6).contains(&advice.limit), "{advice:?}");
//! assert!(advice.confident);
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

const GROWTH: f64 = 1.05;
const HALF_LIFE: Duration = Duration::from_secs(86_400);
const DAY: Duration = Duration::from_secs(86_400);
/// On top of what was seen, because the next day is never quite like the last.
const LIMIT_MARGIN: f64 = 1.15;

/// Usage of one resource over time. Plain data of bounded size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    smallest: f64,
    weights: Vec<f64>,
    first: Option<UnixMillis>,
    last: Option<UnixMillis>,
}

/// What one instance should ask for, in the unit of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Advice {
    /// Covers 90 % of the samples.
    pub request: f64,
    /// Covers 99 % of the samples, plus 15 %.
    pub limit: f64,
    /// A whole day was watched.
    pub confident: bool,
}

impl Usage {
    /// CPU in cores: 0.001 to 1,000.
    #[must_use]
    pub fn cores() -> Self {
        Self::new(0.001, 1_000.0)
    }

    /// Memory in bytes: 1 MB to 1 TB. Sample the peaks.
    #[must_use]
    pub fn bytes() -> Self {
        Self::new(1e6, 1e12)
    }

    fn new(smallest: f64, largest: f64) -> Self {
        let buckets = ((largest / smallest).ln() / GROWTH.ln()).ceil() as usize + 2;
        Self {
            smallest,
            weights: vec![0.0; buckets],
            first: None,
            last: None,
        }
    }

    /// Takes one sample in; values that are not finite are ignored, time that
    /// runs backwards counts as no time.
    pub fn sample(&mut self, used: f64, now: UnixMillis) {
        if !used.is_finite() {
            return;
        }
        let passed = self.last.map_or(Duration::ZERO, |last| now.since(last));
        let fade = 0.5_f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
        for weight in &mut self.weights {
            *weight *= fade;
        }
        // `as` maps what is below the first bucket to it.
        let bucket = ((used / self.smallest).ln() / GROWTH.ln()).ceil() as usize;
        let last_bucket = self.weights.len() - 1;
        self.weights[bucket.min(last_bucket)] += 1.0;
        self.first.get_or_insert(now);
        self.last = Some(now.max(self.last.unwrap_or(now)));
    }

    /// The advice; `None` before the first sample.
    #[must_use]
    pub fn advice(&self) -> Option<Advice> {
        let (first, last) = (self.first?, self.last?);
        Some(Advice {
            request: self.quantile(0.9),
            limit: self.quantile(0.99) * LIMIT_MARGIN,
            confident: last.since(first) >= DAY,
        })
    }

    fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.weights.iter().sum::<f64>();
        let mut below = 0.0;
        let bucket = self.weights.iter().position(|weight| {
            below += weight;
            below >= wanted
        });
        let bucket = bucket.unwrap_or(self.weights.len() - 1);
        self.smallest * GROWTH.powf(bucket as f64)
    }
}
