//! Circuit breaker: an endpoint that fails in a row rests, one request tries it again.
//!
//! Each endpoint has a circuit of its own:
//!
//! ```text
//!            5 failures in a row            its time is over, one request goes
//!  closed ----------------------> open ---------------------------------> half open
//!    ^                             ^                                        |   |
//!    |                             +---- the trial failed: twice as long ---+   |
//!    +---------------------- the trial went well -------------------------------+
//! ```
//!
//! While a circuit is open its endpoint takes no request at all
//! ([`Cause::CircuitOpen`](crate::Cause::CircuitOpen)), not even when the pool panics: a
//! breaker protects the endpoint, not the client. Half open is **one** live request across
//! all clones of the pool. If that one is cancelled, its turn goes back and the next
//! request is the trial. The whole upstream is open when all its circuits are: requests
//! are refused at once until the first trial goes well.
//!
//! | default | value |
//! |---|---|
//! | failures in a row that open it | 5 |
//! | first open time, ± 10 % | 5 s |
//! | each further one is twice as long, at most | 60 s |
//! | an open time is forgotten after | the longest time without a further one |
//! | `Retry-After` of a 503 | not followed, see [`CircuitBreaker::follow_retry_after`] |
//!
//! Requests that were under way while this process stood still say nothing.
//! [`UpstreamLimits`] belong here, too: how many requests, waiting requests and
//! connections the upstream and each endpoint take at most.
//!
//! ```
//! use lb_core::{Cause, Outcome, PickCx, Pool, breaker::CircuitBreaker};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder("simulation")
//!     .endpoints(["http://10.0.0.1:8000"])
//!     .breaker(CircuitBreaker::default().consecutive_failures(1))
//!     .build()?;
//! let now = std::time::Instant::now();
//! pool.pick(&PickCx::new(now, 7))?.record(Outcome::Failure, now);
//! assert!(pool.pick(&PickCx::new(now, 7)).is_err());
//! assert_eq!(pool.status().endpoints[0].reasons, [Cause::CircuitOpen]);
//! let later = now + std::time::Duration::from_secs(6);
//! let mut trial = pool.pick(&PickCx::new(later, 7))?;
//! assert!(pool.pick(&PickCx::new(later, 7)).is_err(), "one trial at a time");
//! trial.record(Outcome::Success, later);
//! assert!(pool.pick(&PickCx::new(later, 7)).is_ok());
//! # Ok(()) }
//! ```
//!
//! # Or outlier detection?
//!
//! [Outlier ejection](crate::outlier) compares endpoints and never takes more than a share
//! of them out; it is the better default. A breaker opens on any endpoint by its own
//! failures alone, so it can close the whole upstream: right for an upstream that needs
//! rest to recover. Both together are fine, a trial waits until an ejection is over.

mod circuits;
mod config;
mod limits;
mod observe;
mod slots;
mod state;

pub(crate) use self::{
    circuits::{Circuits, Trial},
    observe::describe,
    slots::{Gauges, Slot, Use, Users},
};
pub use self::{config::CircuitBreaker, limits::UpstreamLimits, state::Circuit};

#[cfg(test)]
mod tests;
