//! At most so many requests per key and period; the rest is told when to come back.
//!
//! A [`RateLimitLayer`] counts each request against a key and answers what is too
//! much with `429 Too Many Requests`, `Retry-After` and the `RateLimit` fields, so
//! no error type has to be handled. The state is shared by all clones of the layer
//! and of its services: a limit of ten holds for a thousand connections together.
//!
//! Memory is bounded. Beyond the capacity (100,000 keys unless said otherwise) keys
//! that are still limited stay, and newcomers share what one key gets.
//!
//! # Whose request is it?
//!
//! The key is any function of the request head. A request without a key is not
//! limited: decide in the function what stands for strangers. Behind other proxies
//! take the client's address from forwarding headers only when the peer is one of
//! yours. [`Client`] masks IPv6 addresses to their /64, because whoever has one
//! address there has all of them.
//!
//! ```
//! use std::{convert::Infallible, net::IpAddr, time::Duration};
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode, request::Parts};
//! use lb_core::limit::{Client, Quota, RateLimitLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # type Body = http_body_util::Full<Bytes>;
//! let api = Quota::new(10, Duration::from_secs(1))?.burst(1)?;
//! let address = |head: &Parts| head.extensions.get::<IpAddr>().copied().map(Client::from);
//! let limited = RateLimitLayer::new(api, address)?.layer(service_fn(|_: Request<Body>| async {
//!     Ok::<_, Infallible>(Response::new(Body::default()))
//! }));
//!
//! let request = || {
//!     let mut request = Request::new(Body::default());
//!     request.extensions_mut().insert(IpAddr::from([192, 0, 2, 1]));
//!     request
//! };
//! assert_eq!(limited.clone().oneshot(request()).await?.status(), StatusCode::OK);
//! let refused = limited.clone().oneshot(request()).await?;
//! assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(refused.headers()["retry-after"], "1");
//! # Ok(()) }
//! ```

mod clock;
mod key;
mod layer;
mod limiter;
mod observe;
mod quota;
mod response;
mod store;

use std::time::Duration;

pub use key::Client;
pub use layer::{RateLimit, RateLimitFuture, RateLimitLayer};
pub use limiter::RateLimiter;
pub(crate) use observe::describe;
pub use quota::Quota;

/// A quota that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// A number that must be positive is zero.
    #[error("{what} must be at least one")]
    Zero {
        /// Which one.
        what: &'static str,
    },
    /// One request drains in less than a nanosecond, or a burst refills in more than a year.
    #[error("one request per {interval:?} with a burst of {burst} cannot be kept")]
    OutOfRange {
        /// The time in which one request drains.
        interval: Duration,
        /// Requests at once.
        burst: u32,
    },
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go.
    Allowed {
        /// The quota that it counted against.
        quota: Quota,
        /// How many more may come right now.
        remaining: u32,
    },
    /// It is one too many, and did not count.
    Refused {
        /// The quota that it exceeded.
        quota: Quota,
        /// When the next one may come.
        retry_after: Duration,
    },
}

#[cfg(test)]
mod tests;
