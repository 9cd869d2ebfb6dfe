//! What an endpoint says about itself: the ORCA load report.
//!
//! Names and ranges are those of `xds.data.orca.v3.OrcaLoadReport`, the open
//! standard that Envoy and gRPC read and that vLLM and Triton emit. Unknown is
//! `None`, never zero.
//!
//! ```
//! use lb_core::report::LoadReport;
//!
//! let report = LoadReport { cpu_utilization: Some(0.6), ..LoadReport::default() }
//!     .utilization("gpu", 0.9)
//!     .named_metric("active_work", 3.0);
//! assert_eq!(report.active_work(), Some(3.0));
//! ```

use std::collections::BTreeMap;

/// One load report.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct LoadReport {
    /// Share of all CPUs in use; above 1 is possible. Negative or NaN is noise.
    pub cpu_utilization: Option<f64>,
    /// Share of the memory in use, `0.0..=1.0`.
    pub mem_utilization: Option<f64>,
    /// Share of the application's own capacity in use; above 1 is possible.
    pub application_utilization: Option<f64>,
    /// Requests per second.
    pub rps_fractional: Option<f64>,
    /// Errors per second.
    pub eps: Option<f64>,
    /// Other shares, `0.0..=1.0`: `gpu`, `gpu_mem`, ...
    pub utilization: BTreeMap<String, f64>,
    /// Other figures: `active_work` (units of work that run or wait), ...
    pub named_metrics: BTreeMap<String, f64>,
}

impl LoadReport {
    /// Adds one named share.
    #[must_use]
    pub fn utilization(mut self, name: impl Into<String>, share: f64) -> Self {
        self.utilization.insert(name.into(), share);
        self
    }

    /// Adds one named figure.
    #[must_use]
    pub fn named_metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.named_metrics.insert(name.into(), value);
        self
    }

    /// Units of work that run or wait there, whoever sent them.
    #[must_use]
    pub fn active_work(&self) -> Option<f64> {
        self.named_metrics.get("active_work").copied()
    }

    /// Share of GPU time in use.
    #[must_use]
    pub fn gpu_utilization(&self) -> Option<f64> {
        self.utilization.get("gpu").copied()
    }
}
