//! Passive outlier detection: who behaves worse than the others?
//!
//! Nothing is probed, the requests themselves tell. An endpoint is marked
//! [`Cause::Ejected`](crate::Cause::Ejected) for a while when
//!
//! * 5 of its requests failed in a row: at once, on the request path;
//! * it succeeds noticeably less often than the fleet ([`Deviation`]);
//! * 85 % of at least 50 requests of the last 10 s failed;
//! * it answers noticeably later than the fleet, if that is asked for ([`Slowness`]).
//!
//! | default | value |
//! |---|---|
//! | the first ejection lasts | 30 s, the n-th n times as long, at most 300 s |
//! | one ejection is forgiven after | 10 s inside |
//! | out at once, at most | 10 % of the members, but one always |
//! | looks at the fleet | every second |
//!
//! The last available endpoint is never ejected. Requests that were under way while
//! this process stood still say nothing: waking up ejects nobody. What an ejection
//! means for traffic stays with the pool and its panic threshold. A cancelled request
//! says nothing either, nor does one that the proxy refused for the client's fault:
//! it is never recorded. New members are watched from the next look on. An endpoint
//! costs about 400 bytes, an answer one lock that its endpoint alone uses.
//!
//! ```
//! use lb_core::{Outcome, PickCx, Pool, outlier::OutlierDetection};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder("simulation")
//!     .endpoints(["http://10.0.0.1:8000", "http://10.0.0.2:8000"])
//!     .outlier(OutlierDetection::default().consecutive_failures(1))
//!     .build()?;
//! let now = std::time::Instant::now();
//! let mut lease = pool.pick(&PickCx::new(now, 7))?;
//! lease.record(Outcome::Failure, now);
//! let watched = pool.outlier().expect("it was asked for").watched();
//! assert!(watched[lease.endpoint().id()].ejection.is_some());
//! # Ok(()) }
//! ```
//!
//! # One route that fails
//!
//! Requests are counted by endpoint, whatever their path. A route that fails everywhere
//! makes all endpoints alike: comparison ejects nobody, a success of any other route
//! ends a row of failures, and the share bounds what is left. A route that fails on one
//! endpoint only makes that one worse than the others: it goes out once its share of
//! failures is an outlier, because its other routes are served elsewhere, too. Where
//! routes must be judged apart, give each a pool of its own over the same addresses.
//!
//! The judgement alone, as a pure function:
//!
//! ```
//! use lb_core::outlier::{Deviation, SuccessRate};
//!
//! let fleet = [SuccessRate { rate: 0.2, requests: 100 }; 3];
//! assert!(Deviation::default().outliers(&fleet).is_empty()); // too few to compare
//! ```

mod detection;
mod detector;
mod latency;
mod ledger;
mod observe;
mod state;
mod success_rate;
mod window;

pub use self::{
    detection::OutlierDetection,
    detector::{OutlierDetector, Watched},
    latency::{Latency, Slowness},
    state::{Ejection, Reason},
    success_rate::{Deviation, SuccessRate},
};
pub(crate) use observe::describe;

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
