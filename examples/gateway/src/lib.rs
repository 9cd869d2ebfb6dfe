//! The gateway that composes the five crates.
//!
//! | I want to…                                   | module      | floor  |
//! |----------------------------------------------|-------------|--------|
//! | keep jobs and their numbered progress        | [`ledger`]  | decide |
//! | run jobs on instances, again when one dies   | [`jobs`]    | serve  |
//! | answer clients                               | [`http`]    | edge   |
//! | accept connections                           | [`server`]  | edge   |
//! | call an instance                             | [`client`]  | edge   |

pub mod client;
pub mod http;
pub mod jobs;
pub mod ledger;
pub mod server;
