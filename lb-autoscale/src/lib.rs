#![doc = include_str!("../README.md")]
//!
//! # Map
//!
//! | I want to…                                        | module        | floor  |
//! |---------------------------------------------------|---------------|--------|
//! | say what I want                                   | [`spec`]      | decide |
//! | say what I see                                    | [`inputs`]    | decide |
//! | get a decision and its reasons                    | [`decide()`], [`decision`] | decide |
//! | add schedules, overrides, forecasts, budgets …     | [`policy`]    | decide |
//! | start from a ready specification                  | [`presets`]   | decide |
//! | try it on a day of load                           | `sim` (feature `sim`) | decide |
//! | read and write `autoscaling/v2` manifests         | `manifest` (feature `manifest`) | decide |
//! | see how much work fits                            | [`capacity`]  | decide |
//! | find out how big one instance should be           | [`vertical`]  | decide |
//! | read a decision in words and pictures             | [`explain`]   | decide |
//! | decide again what was decided elsewhere           | [`record`]    | decide |
//! | keep memory between decisions                     | [`state`]     | decide |
//! | check single rules against Kubernetes             | [`hpa`]       | decide |
//! | exact numbers and integer time                    | [`quantity`], [`time`] | decide |
//! | decide again and again                            | [`run`]       | serve  |
//! | read metrics                                      | [`source`]    | serve  |
//! | carry decisions out                               | [`actuator`]  | serve  |
//! | see metrics of the autoscaler itself              | [`observe`]   | serve  |
//! | read Prometheus                                   | `prometheus` (feature `prometheus`) | edge |
//! | scale a Kubernetes workload                       | `kubernetes` (feature `kubernetes`) | edge |
//! | look and steer over HTTP                          | `admin` (feature `admin`) | edge |
//! | scale child processes                             | `process` (feature `process`) | edge |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod actuator;
#[cfg(feature = "admin")]
pub mod admin;
pub mod capacity;
mod clock;
mod decide;
pub mod decision;
pub mod explain;
#[cfg(feature = "_fetch")]
mod fetch;
pub mod hpa;
pub mod inputs;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod observe;
pub mod policy;
pub mod presets;
#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "prometheus")]
pub mod prometheus;
pub mod quantity;
pub mod record;
pub mod run;
#[cfg(feature = "sim")]
pub mod sim;
pub mod source;
pub mod spec;
pub mod state;
pub mod time;
pub mod vertical;
mod victims;

pub use actuator::Actuator;
pub use decide::decide;
pub use decision::Decision;
pub use inputs::{Inputs, Observation};
#[cfg(feature = "process")]
pub use process::LocalProcesses;
pub use quantity::Quantity;
pub use run::{Autoscaler, AutoscalerHandle};
pub use source::MetricSource;
pub use spec::Spec;
pub use state::State;
pub use time::UnixMillis;
