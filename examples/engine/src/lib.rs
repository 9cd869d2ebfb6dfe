//! A Monte Carlo engine: uncertain inputs go through a formula, and a distribution comes out.
//!
//! Everything that computes is here, and nothing that serves: no socket, no clock, no async. It is
//! a package of its own so that a build can afford to optimize it as far as it goes.
//!
//! | I want to…                            | module           | floor  |
//! |---------------------------------------|------------------|--------|
//! | describe a run and check it           | [`spec`]         | decide |
//! | say how an input is distributed       | [`distribution`] | decide |
//! | write the output as a formula         | [`formula`]      | decide |
//! | draw random numbers                   | [`rng`]          | decide |
//! | keep percentiles of a billion numbers | [`sketch`], [`buckets`] | decide |
//! | read a result                         | [`summary`]      | decide |
//! | compute a run, watch it, stop it      | [`engine`]       | serve  |

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

/// The examples of the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
