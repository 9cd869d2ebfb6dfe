//! What a run found out: moments, percentiles, risk and a histogram.

use serde::{Deserialize, Serialize};

use crate::buckets::Buckets;
use crate::moments::Moments;
use crate::sketch::RESOLUTION;

/// Bins of the histogram.
pub const HISTOGRAM_BINS: usize = 50;
/// The percentiles of a summary, in per cent.
pub const PERCENTILES: [f64; 11] = [
    0.1, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9,
];
/// The confidence levels of value at risk.
const LEVELS: [f64; 2] = [0.95, 0.99];

/// The result of one run. Equal specifications give equal summaries, bit by bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Samples drawn.
    pub iterations: u64,
    /// The seed they were drawn with.
    pub seed: u64,
    /// Samples without a finite value; all figures below leave them out.
    pub non_finite: u64,
    /// Inputs of the first such sample.
    pub non_finite_example: Option<String>,
    /// Mean of the outputs.
    pub mean: f64,
    /// Standard deviation of the outputs.
    pub std_dev: f64,
    /// Standard error of the mean: how far `mean` may be off by chance.
    pub std_error: f64,
    /// Smallest output.
    pub min: f64,
    /// Largest output.
    pub max: f64,
    /// Percentiles in ascending order.
    pub percentiles: Vec<Percentile>,
    /// Largest error of a percentile besides chance, as a share of its distance from the median.
    pub percentile_error: f64,
    /// Value at risk and expected shortfall, if the output is a gain.
    pub risk: Vec<Risk>,
    /// The shape of the distribution between the first and the last percentile.
    pub histogram: Histogram,
}

/// The value that a share of the outputs does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// The share in per cent.
    pub percent: f64,
    /// The value.
    pub value: f64,
}

/// How bad it gets. A loss is the negative of the output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    /// The confidence level, for example 0.95.
    pub level: f64,
    /// The loss that is not exceeded with that confidence.
    pub value_at_risk: f64,
    /// The mean loss in the cases beyond (expected shortfall, CVaR).
    pub conditional_value_at_risk: f64,
}

/// Counts in equal intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower end of the first interval.
    pub low: f64,
    /// Upper end of the last interval.
    pub high: f64,
    /// Outputs below `low`.
    pub below: u64,
    /// Outputs in each interval.
    pub counts: Vec<u64>,
    /// Outputs above `high`.
    pub above: u64,
}

/// Everything a run counted.
pub(crate) struct Tally {
    pub(crate) iterations: u64,
    pub(crate) seed: u64,
    pub(crate) moments: Moments,
    pub(crate) buckets: Buckets,
    pub(crate) non_finite_example: Option<String>,
}

impl Summary {
    pub(crate) fn of(tally: Tally) -> Self {
        let Tally {
            moments, buckets, ..
        } = &tally;
        let quantile = |share: f64| buckets.quantile(share).clamp(moments.min, moments.max);
        let risk = |level: f64| Risk {
            level,
            value_at_risk: -quantile(1.0 - level),
            conditional_value_at_risk: -buckets.lower_tail_mean(1.0 - level).max(moments.min),
        };
        let percentile = |percent: f64| Percentile {
            percent,
            value: quantile(percent / 100.0),
        };
        let percentiles: Vec<Percentile> = PERCENTILES.into_iter().map(percentile).collect();
        let (low, high) = (
            percentiles[0].value,
            percentiles[PERCENTILES.len() - 1].value,
        );
        let (below, counts, above) = buckets.histogram(low, high, HISTOGRAM_BINS);
        Self {
            iterations: tally.iterations,
            seed: tally.seed,
            non_finite: tally.iterations - moments.count,
            mean: moments.mean,
            std_dev: moments.std_dev(),
            std_error: moments.std_dev() / (moments.count as f64).sqrt(),
            min: moments.min,
            max: moments.max,
            percentiles,
            percentile_error: RESOLUTION,
            risk: LEVELS.into_iter().map(risk).collect(),
            histogram: Histogram {
                low,
                high,
                below,
                counts,
                above,
            },
            non_finite_example: tally.non_finite_example,
        }
    }

    /// The value of one of [`PERCENTILES`].
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let found = self.percentiles.iter().find(|p| p.percent == percent);
        found.map(|p| p.value)
    }
}
