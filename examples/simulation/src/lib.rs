//! A Monte Carlo simulation service: uncertain inputs go through a formula, a
//! distribution comes out, and everybody can watch it happen. What computes is
//! the package `montecarlo`; this one queues, watches and serves.
//!
//! | I want to…                            | module           | floor  |
//! |---------------------------------------|------------------|--------|
//! | read inputs from a table              | [`csv`]          | decide |
//! | number the progress of a job          | [`progress`]     | decide |
//! | queue, watch and stop jobs            | [`jobs`]         | serve  |
//! | know my GPUs and share them           | [`gpu`]          | edge   |
//! | offer all that over HTTP              | [`service`]      | edge   |
//! | record what is measured               | [`recorder`]     | edge   |
//! | hear that the process should end      | [`signal`]       | edge   |

mod clock;
pub mod csv;
pub mod gpu;
pub mod jobs;
pub mod observe;
pub mod progress;
pub mod recorder;
pub mod service;
pub mod signal;
