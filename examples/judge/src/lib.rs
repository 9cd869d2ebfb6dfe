//! An independent client that decides whether anything was lost.
//!
//! The judge runs in a process of its own and knows the system under judgement
//! only by HTTP and WebSocket. It keeps its own [`ledger`] of everything it sent
//! and of every number it received, through phases that somebody else announces
//! on its standard input:
//!
//! ```text
//! phase calm       nothing special happens
//! phase planned    instances come and go in good order: still nothing may be lost
//! phase crash      an instance is killed: only idempotent requests, resuming is allowed
//! finish           begin nothing more, let everything open end, give the verdict
//! ```
//!
//! Each phase is confirmed as a line on standard error. The verdict is one line
//! of JSON on standard output; the exit code is 0 only if nothing was lost.
//!
//! What it sends, little by little: jobs whose progress it follows (and leaves
//! and resumes), tunnels of numbered ticks, direct runs that nobody may repeat,
//! and plain reads. What counts as a loss: [`ledger::Kind`].
//!
//! | I want to…                  | module      | floor  |
//! |-----------------------------|-------------|--------|
//! | know what counts as a loss  | [`ledger`]  | decide |
//! | check a sequence of numbers | [`track`]   | decide |
//! | read the verdict            | [`verdict`] | decide |
//! | follow the phases           | [`phases`]  | serve  |
//! | send the traffic            | [`traffic`] | edge   |
//!
//! # Limits
//!
//! Every request and every wait has a deadline, losses are stored up to a
//! number, the whole judgement ends after `--max-seconds`. The load is modest on
//! purpose: a judge that saturates the machine judges the machine.

pub mod ledger;
pub mod phases;
mod run;
pub mod track;
pub mod traffic;
pub mod verdict;

pub use run::{Args, judge, run};

#[cfg(test)]
mod tests;
