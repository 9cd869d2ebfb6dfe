//! At most so many requests at once, a short queue behind them, and a clear no to the rest.
//!
//! Beyond its capacity a service does not get faster, only its queue gets longer,
//! until every answer comes too late. A [`ConcurrencyLimitLayer`] lets as many
//! requests in as its limit says, keeps a bounded number waiting for a bounded
//! time, and answers the others at once with `503 Service Unavailable` and
//! `Retry-After`. A request is in flight until its response body has ended.
//!
//! The limit is fixed, or learns: [`Aimd`] from refusals and errors, [`Gradient`]
//! from response times. All clones of the layer and its services share one limit.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use lb_core::limit::{ConcurrencyLimitLayer, Gradient};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Infallible> {
//! # type Body = http_body_util::Full<Bytes>;
//! let limit = Gradient::new(4..=500);
//! let layer = ConcurrencyLimitLayer::queued(limit, 100, Duration::from_millis(500));
//! let service = layer.layer(service_fn(|_: Request<Body>| async {
//!     Ok::<_, Infallible>(Response::new(Body::default()))
//! }));
//! assert!(service.oneshot(Request::new(Body::default())).await?.status().is_success());
//! assert_eq!(layer.in_flight(), 0);
//! # Ok(()) }
//! ```
//!
//! # What it does not do
//!
//! It does not know who is asking: put a [`RateLimitLayer`](super::RateLimitLayer)
//! outside to keep one client from filling the queue. A WebSocket counts until its
//! handshake is answered, not until it closes.

mod algorithm;
mod gate;
mod layer;
mod observe;

pub use algorithm::{Aimd, Algorithm, Fixed, Gradient, Sample};
pub use gate::Permit;
pub use layer::{ConcurrencyLimit, ConcurrencyLimitFuture, ConcurrencyLimitLayer};
pub(crate) use observe::describe;

#[cfg(test)]
mod tests;
