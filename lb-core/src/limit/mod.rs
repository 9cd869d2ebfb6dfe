//! How much may come in.
//!
//! | I want to… | type |
//! |---|---|
//! | give every client its share | [`RateLimitLayer`] |
//! | count something else than requests | [`RateLimiter`] |
//! | keep the service from drowning | [`ConcurrencyLimitLayer`] |
//!
//! A rate limit is about fairness between clients, a concurrency limit about the
//! capacity behind. Stack them in this order: rate limit outside, concurrency inside.
//!
//! ```
//! use std::time::Duration;
//!
//! use lb_core::limit::{Quota, RateLimiter, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), lb_core::limit::QuotaError> {
//! let uploads = RateLimiter::new(Quota::new(2, Duration::from_secs(1))?)?;
//! assert!(matches!(uploads.check(&"alice"), Verdict::Allowed { remaining: 1, .. }));
//! # Ok(()) }
//! ```

mod concurrency;
mod rate;

pub use concurrency::{
    Aimd, Algorithm, ConcurrencyLimit, ConcurrencyLimitFuture, ConcurrencyLimitLayer, Fixed,
    Gradient, Permit, Sample,
};
pub use rate::{
    Client, Quota, QuotaError, RateLimit, RateLimitFuture, RateLimitLayer, RateLimiter, Verdict,
};

pub(crate) fn describe() {
    rate::describe();
    concurrency::describe();
}
