//! The reverse proxy end to end: raw bytes in, a recording origin behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod affinity;
mod failover;
mod streams;
mod support;
mod tunnels;
