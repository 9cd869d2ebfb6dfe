//! Active health checks: is every endpoint still well?
//!
//! Each endpoint is probed on its own schedule, draining ones too, with jitter so
//! that many gateways do not ask at the same moment. A row of failures marks it
//! [`Cause::Unhealthy`](crate::Cause::Unhealthy), a row of successes clears that;
//! what it means for traffic stays with the pool and its panic threshold.
//!
//! | default | value |
//! |---|---|
//! | pause between two probes | 30 s, ± 10 % |
//! | time for one answer | 5 s |
//! | failures in a row until down | 3 |
//! | successes in a row until up | 2 |
//!
//! The first answer of a new endpoint decides alone. A probe that failed while this
//! process itself was suspended says nothing and is not counted: waking up does not
//! eject everybody.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lb_core::Pool;
//! use lb_core::health::{HealthCheck, HttpProbe};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder("simulation")
//!     .endpoints(["http://10.0.0.1:8000", "http://10.0.0.2:8000"])
//!     .health(HealthCheck::new(HttpProbe::get("/ready")?).every(Duration::from_secs(5)))
//!     .build()?;
//! # Ok(()) }
//! ```
//!
//! # What it does not do
//!
//! [`HttpProbe`] speaks HTTP/1.1, plain or over TLS (feature `tls`); for endpoints that
//! speak only HTTP/2 there is [`TcpProbe`], or a [`Probe`] of one's own. Real requests are watched elsewhere: passive
//! ejection sees what a probe of one path cannot.

mod check;
mod observe;
mod probe;
mod prober;
mod state;

pub use check::HealthCheck;
pub(crate) use observe::describe;
#[cfg(feature = "tls")]
pub(crate) use probe::{Encrypt, Encrypting, Wire};
pub use probe::{HttpProbe, Probe, ProbeError, Probing, TcpProbe};
pub use prober::{Checked, HealthChecks};
pub use state::{Health, Thresholds};

#[cfg(test)]
mod tests;
