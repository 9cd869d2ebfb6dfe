//! A tower service that is many: each request goes to an endpoint of a pool.
//!
//! [`Balance`] runs over any cloneable HTTP service: routers, clients, closures.
//! It is always ready and never fails; an endpoint that is not ready in time is
//! left for another one *before* the request has moved there, so that nothing is
//! sent twice. An answer counts as in flight until its body has ended, its status
//! teaches the policy, its load report is taken out, and the pool's
//! [affinity](crate::affinity) is honoured.
//!
//! Three routers of one process as one service:
//!
//! ```
//! use axum::{Router, routing::get};
//! use lb_core::balance::Balance;
//!
//! let router = |name: &'static str| Router::new().route("/", get(move || async move { name }));
//! let service = Balance::over("app", ["a", "b", "c"].map(|name| (name, router(name))))?;
//! let app: Router = Router::new().fallback_service(service);
//! # Ok::<(), lb_core::ConfigError>(())
//! ```
//!
//! A [`BalanceLayer`] goes around a router that is itself one endpoint of a pool:
//! part of the requests are answered here, the rest by the other instances.
//!
//! ```
//! use axum::{Router, routing::get};
//! use lb_core::{EndpointSpec, Pool, balance::BalanceLayer};
//!
//! let pool = Pool::builder("simulation")
//!     .endpoints([
//!         EndpointSpec::new("sim-1", "http://10.0.0.1:8000"),
//!         EndpointSpec::new("sim-2", "http://10.0.0.2:8000"),
//!     ])
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/simulate", get(|| async { "done by sim-1" }))
//!     .layer(BalanceLayer::new(pool).local("sim-1"));
//! # Ok::<(), lb_core::ConfigError>(())
//! ```
//!
//! # Limits
//!
//! The endpoint is chosen when the service is called, not when the future is first polled.
//! A request that was handed to an in-process service is not sent again when
//! that fails: its body is gone. An upgraded connection of an in-process service
//! counts until its 101 only; behind the reverse proxy it counts to its end.
//! `grpc-status` is not looked at: an RPC error with HTTP status 200 is a success.
//! A [`Policy`](crate::policy::Policy) of your own that panics unwinds into whoever calls
//! a [`Balance`]: to catch it would cost every request of the policies that do not. Nothing
//! stays counted. A [`BalanceLayer`] and the reverse proxy answer 500.

mod body;
mod call;
mod error;
mod future;
#[cfg(feature = "proxy")]
mod layer;
mod observe;
mod search;
mod service;
mod services;

pub use self::body::BalanceBody;
pub use self::error::BalanceError;
pub use self::future::BalanceFuture;
#[cfg(feature = "proxy")]
pub use self::layer::{BalanceLayer, Balanced, BalancedBody, BalancedFuture};
pub(crate) use self::observe::describe;
pub use self::service::Balance;

#[cfg(test)]
mod tests;
