#![doc = include_str!("../README.md")]
//!
//! # Map
//!
//! | I want to…                                   | module          | floor  |
//! |----------------------------------------------|-----------------|--------|
//! | read and write through all tiers             | [`TieredCache`] | serve  |
//! | say what is kept where, and for how long     | [`policy`], [`local`] | decide |
//! | know when an entry is fresh, ageing or stale | [`freshness`]   | decide |
//! | say where values come from                   | [`source`]      | serve  |
//! | keep bytes somewhere else                    | [`tier`]        | edge   |
//! | …in Redis, one node or a cluster             | `redis` (feature `redis`) | edge |
//! | …in a file, or in PostgreSQL                 | `redb`, `postgres` (features) | edge |
//! | turn values and keys into bytes              | [`codec`], [`wire`], [`envelope`] | decide |
//! | leave a failing tier alone                   | [`breaker`]     | decide |
//! | read statistics and metrics                  | [`stats`], [`observe`] | serve |
//! | see and change things at run time            | `admin` (feature `admin`) | edge |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "admin")]
pub mod admin;
pub mod breaker;
mod builder;
mod cache;
mod clock;
pub mod codec;
pub mod envelope;
mod errand;
mod error;
mod flight;
pub mod freshness;
mod inner;
mod level;
pub mod local;
mod lookup;
pub mod observe;
mod pack;
pub mod policy;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "redis")]
pub mod redis;
pub mod source;
mod stamp;
pub mod stats;
mod stripe;
pub mod tier;
pub mod wire;

pub use builder::Builder;
pub use cache::{Inspection, Level, TieredCache};
pub use error::{BoxError, CacheError, ConfigError};
pub use local::Local;
pub use lookup::Lookup;
pub use policy::Policy;
pub use source::{Loaded, Source};
pub use stats::Stats;
pub use tier::Tier;
pub use wire::WireKey;
