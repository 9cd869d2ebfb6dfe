//! A Monte Carlo simulation service: uncertain inputs go through a formula, a
//! distribution comes out, and everybody can watch it happen.
//!
//! | I want to…                            | module           | floor  |
//! |---------------------------------------|------------------|--------|
//! | describe a run and check it           | [`spec`]         | decide |
//! | say how an input is distributed       | [`distribution`] | decide |
//! | read inputs from a table              | [`csv`]          | decide |
//! | write the output as a formula         | [`formula`]      | decide |
//! | draw random numbers                   | [`rng`]          | decide |
//! | keep percentiles of a billion numbers | [`sketch`], [`buckets`] | decide |
//! | read a result                         | [`summary`]      | decide |
//! | number the progress of a job          | [`progress`]     | decide |
//! | compute a run                         | [`engine`]       | serve  |
//! | queue, watch and stop jobs            | [`jobs`]         | serve  |
//! | know my GPUs and share them           | [`gpu`]          | edge   |
//! | offer all that over HTTP              | [`service`]      | edge   |

pub mod buckets;
mod clock;
pub mod csv;
pub mod distribution;
pub mod engine;
pub mod formula;
pub mod gpu;
pub mod jobs;
mod moments;
mod normal;
pub mod observe;
pub mod progress;
pub mod rng;
pub mod service;
pub mod sketch;
pub mod spec;
pub mod summary;
