//! The gateway that composes the five crates.
//!
//! | I want to…                                   | module      | floor  |
//! |----------------------------------------------|-------------|--------|
//! | keep jobs and their numbered progress        | [`ledger`]  | decide |
//! | run jobs on instances, again when one dies   | [`jobs`]    | serve  |
//! | keep children from outliving this process    | [`lifeline`]| serve  |
//! | see how the crates meet                      | [`wiring`]  | edge   |
//! | start and stop all of it                     | [`fleet`], [`up`] | edge |
//! | answer clients                               | [`http`]    | edge   |
//! | accept connections                           | [`server`]  | edge   |
//! | call an instance                             | [`client`]  | edge   |
//! | watch it at work                             | [`demo`]    | edge   |
//! | read the command line, and follow it         | [`cli`], [`program`] | edge |

pub mod cli;
pub mod client;
mod clock;
pub mod demo;
pub mod fleet;
pub mod http;
pub mod jobs;
pub mod ledger;
pub mod lifeline;
mod observe;
pub mod program;
pub mod server;
pub mod up;
pub mod wiring;
