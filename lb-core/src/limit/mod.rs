//! How much may come in.
//!
//! | I want to… | type |
//! |---|---|
//! | give every client its share | [`RateLimitLayer`] |
//! | count something else than requests | [`RateLimiter`] |
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

mod rate;

pub(crate) use rate::describe;
pub use rate::{
    Client, Quota, QuotaError, RateLimit, RateLimitFuture, RateLimitLayer, RateLimiter, Verdict,
};
