#![doc = include_str!("../README.md")]
//!
//! # Map
//!
//! | I want to...                              | module        | floor  |
//! |-------------------------------------------|---------------|--------|
//! | name endpoints and read their counters    | [`endpoint`]  | decide |
//! | know who gets the next request            | [`policy`]    | decide |
//! | write a picker of my own                  | [`pick`], [`candidates`] | decide |
//! | read what endpoints report                | [`report`]    | decide |
//! | judge who behaves worse than the others   | [`outlier`]   | decide |
//! | retry within a budget                     | [`retry`]     | decide |
//! | hold endpoints, pick, change at run time  | [`pool`]      | serve  |
//! | export metrics                            | [`observe`]   | serve  |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod candidates;
mod clock;
pub mod endpoint;
mod error;
pub mod observe;
pub mod outlier;
pub mod pick;
pub mod policy;
pub mod pool;
pub mod report;
pub mod retry;
mod sync;

pub use crate::{
    endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Outcome},
    error::{ConfigError, PickError},
    pick::PickCx,
    pool::{Lease, Pool, PoolStatus, WeakPool},
};
