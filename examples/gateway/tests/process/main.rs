//! The gateway as a process: real children, real sockets, nothing but loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod control;
mod gpu;
mod lifecycle;
mod limits;
mod support;
mod up;
