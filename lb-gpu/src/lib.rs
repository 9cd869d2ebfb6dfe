//! The truth about this machine's GPUs, and a fair turn for everyone who wants one.
//!
//! A [`Sampler`] looks at the GPUs in the background and always has an answer,
//! also on a machine without any. The answer is a [`GpuSnapshot`]: raw numbers,
//! smoothed load, counters that only grow, and how old it all is.
//!
//! | I want to… | module | floor |
//! |---|---|---|
//! | read what is known right now | [`snapshot`] | decide |
//! | know whether a device is fit, and why | [`health`] | decide |
//! | get one number for balancing or scaling | [`load`] | decide |
//! | know what one look can tell | [`reading`] | decide |
//! | fold readings into snapshots myself | [`tracker`], [`ewma`] | decide |
//! | give every tenant a fair turn | [`fair`] | decide, serve |
//! | have it done in the background | [`sampler`] | serve |
//! | serve Prometheus | [`exporter`] | decide |
//! | see a snapshot as JSON | `report` (feature `serde`) | decide |
//! | see and clear things over HTTP | `admin` (feature `admin`) | edge |
//! | name the other metrics | [`observe`] | edge |
//! | bring my own driver | [`probe`] | edge |
//! | look at NVIDIA GPUs | `nvml` (feature `nvml`) | edge |
//! | test without hardware | [`fake`] | edge |
//!
//! Nothing here needs a GPU, an NVIDIA package or a server to build or test.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(feature = "nvml", doc = "\n---\n", doc = include_str!("../README.md"))]

#[cfg(feature = "admin")]
pub mod admin;
mod backoff;
mod clock;
pub mod ewma;
pub mod exporter;
pub mod fair;
pub mod fake;
pub mod health;
pub mod load;
#[cfg(feature = "nvml")]
pub mod nvml;
pub mod observe;
pub mod probe;
mod ratio;
pub mod reading;
#[cfg(feature = "serde")]
pub mod report;
pub mod sampler;
pub mod snapshot;
mod sync;
pub mod tracker;

pub use fair::{Demand, FairShare, Permit};
pub use fake::{FakeGpus, FakeProbe};
#[cfg(feature = "nvml")]
pub use nvml::NvmlProbe;
pub use ratio::Ratio;
pub use sampler::{Sampler, SamplerConfig};
pub use snapshot::GpuSnapshot;
