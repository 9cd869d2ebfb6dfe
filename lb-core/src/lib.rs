#![doc = include_str!("../README.md")]
//!
//! # Map
//!
//! | I want to...                              | module        | floor  |
//! |-------------------------------------------|---------------|--------|
//! | name endpoints and read their counters    | [`endpoint`]  | decide |
//! | know who gets the next request            | [`policy`]    | decide |
//! | write a picker of my own                  | [`pick`], [`candidates`] | decide |
//! | read what endpoints report, and report    | [`report`]    | decide, serve |
//! | rest who fails in a row, bound the upstream | [`breaker`]   | decide, serve |
//! | eject who behaves worse than the others   | [`outlier`]   | decide, serve |
//! | retry within a budget                     | [`retry`]     | decide |
//! | ask a second endpoint when the first is late | [`hedge`]  | decide |
//! | hand deadlines on from hop to hop         | [`deadline`]  | decide |
//! | limit what clients may send               | `limit` (feature `rate-limit`) | serve |
//! | hold endpoints, pick, change at run time  | [`pool`]      | serve  |
//! | probe endpoints                           | [`health`]    | edge   |
//! | keep a client on its endpoint             | `affinity` (feature `affinity`) | decide |
//! | know who the client is                    | `client` (feature `affinity`) | decide |
//! | balance over routers and other services   | `balance` (feature `affinity`; its layer: `proxy`) | serve |
//! | split or mirror traffic                   | `split` (feature `affinity`) | serve |
//! | hold something until a body has ended     | [`body`]      | serve  |
//! | forward HTTP and WebSocket                | `proxy` (feature `proxy`) | serve, edge |
//! | export metrics                            | [`observe`]   | serve  |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "affinity")]
pub mod affinity;
#[cfg(feature = "affinity")]
pub mod balance;
pub mod body;
pub mod breaker;
pub mod candidates;
#[cfg(feature = "affinity")]
pub mod client;
mod clock;
pub mod deadline;
pub mod endpoint;
mod error;
#[cfg(feature = "affinity")]
mod explain;
pub mod health;
pub mod hedge;
#[cfg(feature = "rate-limit")]
pub mod limit;
pub mod observe;
pub mod outlier;
pub mod pick;
pub mod policy;
pub mod pool;
#[cfg(feature = "proxy")]
pub mod proxy;
mod pulse;
pub mod report;
pub mod retry;
#[cfg(feature = "affinity")]
pub mod split;
mod spread;
mod sync;

#[cfg(feature = "affinity")]
pub use crate::affinity::Affinity;
#[cfg(feature = "proxy")]
pub use crate::proxy::ReverseProxy;
pub use crate::{
    endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Outcome},
    error::{ConfigError, PickError},
    pick::PickCx,
    pool::{Lease, Pool, PoolStatus, WeakPool},
};
