//! A Monte Carlo simulation service: uncertain inputs go through a formula, a
//! distribution comes out, and everybody can watch it happen.
//!
//! | I want to…                            | module           | floor  |
//! |---------------------------------------|------------------|--------|
//! | describe a run and check it           | [`spec`]         | decide |
//! | say how an input is distributed       | [`distribution`] | decide |
//! | write the output as a formula         | [`formula`]      | decide |
//! | draw random numbers                   | [`rng`]          | decide |
//! | keep percentiles of a billion numbers | [`sketch`], [`buckets`] | decide |
//! | read a result                         | [`summary`]      | decide |
//! | compute a run                         | [`engine`]       | serve  |

pub mod buckets;
pub mod distribution;
pub mod engine;
pub mod formula;
mod moments;
mod normal;
pub mod rng;
pub mod sketch;
pub mod spec;
pub mod summary;
