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
//! | read statistics                              | [`stats`]       | serve  |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod cache;
mod clock;
mod error;
mod flight;
pub mod freshness;
mod inner;
pub mod local;
mod lookup;
pub mod policy;
pub mod source;
pub mod stats;

pub use builder::Builder;
pub use cache::TieredCache;
pub use error::{BoxError, CacheError, ConfigError};
pub use local::Local;
pub use lookup::Lookup;
pub use policy::Policy;
pub use source::{Loaded, Source};
pub use stats::Stats;
