//! Splitting traffic: shares, matches, A/B groups that clients stay in, and mirrors.
//!
//! A [`Split`] sends each request to one of several *arms*: services of one type,
//! such as two reverse proxies with pools of their own, or two routers. Who goes
//! where is settled in this order:
//!
//! 1. the first [`Match`] that holds (a header, a cookie: testers, staff);
//! 2. the arm the client is bound to, if the split is [sticky](SplitBuilder::sticky):
//!    a canary's clients stay with the canary, whatever instance serves them;
//! 3. a draw by weight.
//!
//! Weights change at run time. An arm of weight 0 gets nobody but matches, not
//! even clients that were bound to it: a rollback is complete at once.
//!
//! A [`MirrorLayer`] also copies requests to a shadow service and forgets the
//! answers.
//!
//! ```
//! use axum::{Router, routing::get};
//! use lb_core::{Affinity, split::{Match, Split}};
//!
//! let arm = |version: &'static str| Router::new().route("/", get(move || async move { version }));
//! let split = Split::builder("checkout")
//!     .arm("stable", 95, arm("1"))
//!     .arm("canary", 5, arm("2"))
//!     .when(Match::header("x-tester", "yes"), "canary")
//!     .sticky(Affinity::cookie("checkout_group", "at least sixteen bytes of secret"))
//!     .build()?;
//! let app: Router = Router::new().fallback_service(split.clone());
//! split.set_weight("canary", 20);
//! # Ok::<(), lb_core::ConfigError>(())
//! ```

mod builder;
mod matches;
mod mirror;
mod observe;
mod service;

pub use self::builder::SplitBuilder;
pub use self::matches::Match;
pub use self::mirror::{CopiedBody, Mirror, MirrorLayer, TeeBody};
pub(crate) use self::observe::describe;
pub use self::service::{Split, SplitFuture};

#[cfg(test)]
mod tests;
