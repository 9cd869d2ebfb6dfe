//! Who succeeds noticeably less often than the fleet?

/// Successes and requests of one endpoint within one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// Share of requests that succeeded, `0.0..=1.0`.
    pub rate: f64,
    /// How many requests that is a share of.
    pub requests: u64,
}

/// When an endpoint's success rate is an outlier, as in Envoy.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Deviation {
    /// How many standard deviations below the mean is too far. Default: 1.9.
    pub stdev_factor: f64,
    /// With fewer comparable endpoints nobody is an outlier. Default: 5.
    pub min_hosts: usize,
    /// Endpoints with fewer requests are not compared. Default: 100.
    pub min_requests: u64,
}

impl Default for Deviation {
    fn default() -> Self {
        Self {
            stdev_factor: 1.9,
            min_hosts: 5,
            min_requests: 100,
        }
    }
}

impl Deviation {
    /// Replaces the three settings: factor, least endpoints, least requests.
    #[must_use]
    pub fn new(stdev_factor: f64, min_hosts: usize, min_requests: u64) -> Self {
        Self {
            stdev_factor,
            min_hosts,
            min_requests,
        }
    }

    /// Positions of those whose success rate lies further below the fleet's
    /// mean than `stdev_factor` population standard deviations. Rates that are
    /// not finite are not compared.
    ///
    /// ```
    /// use lb_core::outlier::{Deviation, SuccessRate};
    ///
    /// let mut fleet = vec![SuccessRate { rate: 1.0, requests: 100 }; 9];
    /// fleet.push(SuccessRate { rate: 0.5, requests: 100 });
    /// assert_eq!(Deviation::default().outliers(&fleet), [9]);
    /// ```
    #[must_use]
    pub fn outliers(&self, fleet: &[SuccessRate]) -> Vec<usize> {
        let counts =
            |host: &SuccessRate| host.requests >= self.min_requests && host.rate.is_finite();
        let compared = || fleet.iter().enumerate().filter(|(_, host)| counts(host));
        let n = compared().count();
        if n == 0 || n < self.min_hosts {
            return Vec::new();
        }
        let mean = compared().map(|(_, host)| host.rate).sum::<f64>() / n as f64;
        let variance = compared()
            .map(|(_, host)| (host.rate - mean).powi(2))
            .sum::<f64>()
            / n as f64;
        let threshold = mean - self.stdev_factor * variance.sqrt();
        compared()
            .filter(|(_, host)| host.rate < threshold)
            .map(|(at, _)| at)
            .collect()
    }
}
