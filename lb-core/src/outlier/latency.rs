//! Who answers noticeably later than the fleet?

use std::time::Duration;

/// When an endpoint is an outlier by its latency.
///
/// What is compared is the geometric mean of the answers of an interval: a few long
/// requests among many short ones move it little, an endpoint that is late every time
/// moves it fully. It is late if it takes `factor` times as long as the fleet's median
/// *and* at least `excess` longer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Slowness {
    /// How many times the fleet's latency is too long. Default: 3.
    pub factor: f64,
    /// How much longer it must be at least. Default: 1 s.
    pub excess: Duration,
    /// Endpoints with fewer answers in an interval are not compared. Default: 3.
    pub min_requests: u64,
}

impl Default for Slowness {
    fn default() -> Self {
        Self {
            factor: 3.0,
            excess: Duration::from_secs(1),
            min_requests: 3,
        }
    }
}

/// How long the answers of one endpoint took within one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// The geometric mean in seconds.
    pub typical_seconds: f64,
    /// How many answers that is the mean of.
    pub requests: u64,
}

impl Slowness {
    /// Replaces the three settings: factor, least excess, least requests.
    #[must_use]
    pub fn new(factor: f64, excess: Duration, min_requests: u64) -> Self {
        Self {
            factor,
            excess,
            min_requests,
        }
    }

    /// Positions of those that are late, latest first. The fleet's latency is the lower
    /// median, so that of two the quicker one is the measure.
    ///
    /// ```
    /// use lb_core::outlier::{Latency, Slowness};
    ///
    /// let seconds = |typical_seconds| Latency { typical_seconds, requests: 10 };
    /// let fleet = [0.02, 2.02, 0.03, 0.02].map(seconds);
    /// assert_eq!(Slowness::default().late(&fleet), [1]);
    /// ```
    #[must_use]
    pub fn late(&self, fleet: &[Latency]) -> Vec<usize> {
        let counts = |one: &Latency| one.requests >= self.min_requests.max(1);
        let mut compared: Vec<_> = fleet.iter().filter(|one| counts(one)).collect();
        compared.sort_by(|one, other| one.typical_seconds.total_cmp(&other.typical_seconds));
        let Some(median) = compared.get(compared.len().saturating_sub(1) / 2) else {
            return Vec::new();
        };
        let usual = median.typical_seconds;
        let limit = (usual * self.factor).max(usual + self.excess.as_secs_f64());
        let mut late: Vec<_> = (0..fleet.len())
            .filter(|at| counts(&fleet[*at]) && fleet[*at].typical_seconds >= limit)
            .collect();
        late.sort_by(|one, other| {
            let (one, other) = (fleet[*one].typical_seconds, fleet[*other].typical_seconds);
            other.total_cmp(&one)
        });
        late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever is no later than the median stays, so at least half always do.
        #[test]
        fn at_least_half_are_never_late(seconds in prop::collection::vec(0.000_1..100.0_f64, 1..50)) {
            let fleet: Vec<_> = seconds
                .iter()
                .map(|seconds| Latency { typical_seconds: *seconds, requests: 10 })
                .collect();
            let late = Slowness::default().late(&fleet);
            prop_assert!(late.len() <= fleet.len() / 2);
        }
    }
}
