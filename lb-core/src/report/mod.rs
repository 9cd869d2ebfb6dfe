//! What an endpoint says about itself: the ORCA load report.
//!
//! Names and ranges are those of `xds.data.orca.v3.OrcaLoadReport`, the open
//! standard that Envoy and gRPC read and that vLLM and Triton emit. Unknown is
//! `None`, never zero.
//!
//! A report travels in the response header `endpoint-load-metrics`. An instance
//! adds it with a [`ReportLayer`]; the [reverse proxy](crate::ReverseProxy) and
//! [`Balance`](crate::balance::Balance) take it out, feed the statistics of the
//! endpoint, and never show it to clients. Endpoints that answer rarely because
//! they run long jobs or tunnels are asked between requests: a
//! [health check](crate::health) with [`HttpProbe`](crate::health::HttpProbe)
//! reads the report of each answer. Reports are late, missing or wrong by
//! nature: [`LoadReport::parse`] refuses what is absurd, statistics smooth and
//! forget, and policies bound what a report may change.
//!
//! ```
//! use axum::{Router, routing::get};
//! use lb_core::report::ReportLayer;
//!
//! let app: Router = Router::new()
//!     .route("/simulate", get(|| async { "done" }))
//!     .layer(ReportLayer::new().capacity(8).utilization("gpu", || Some(0.9)));
//! ```
//!
//! Envoy's client-side weighted round robin gives an endpoint a weight only if
//! its report has both `rps_fractional` and a utilization above zero: tell the
//! layer a [`capacity`](ReportLayer::capacity), or a host sampler (feature
//! `sysinfo`).

mod gauges;
#[cfg(feature = "sysinfo")]
mod host;
mod json;
mod layer;
mod lent;
mod observe;
mod take;
mod text;

use std::collections::BTreeMap;

pub use self::gauges::Running;
#[cfg(feature = "sysinfo")]
pub use self::host::HostSampler;
pub use self::layer::{ReportLayer, Reporting, ReportingFuture};
pub(crate) use self::observe::{describe, refused};
#[cfg(feature = "proxy")]
pub(crate) use self::take::is_report;
pub use self::text::{HEADER, ReportError};

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

#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod tests;
