//! The reverse proxy end to end: raw bytes in, a recording origin behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod affinity;
mod canary;
mod corpus;
mod draining;
mod failover;
mod hedges;
mod hops;
mod hostile;
mod http2;
mod interim;
mod interim_http2;
mod layers;
mod moody;
mod origin2;
#[cfg(feature = "rate-limit")]
mod own_layers;
mod panics;
mod polled;
mod resilience;
mod server;
mod sessions;
mod streams;
mod support;
mod tunnels;
mod upstream_http2;
#[cfg(feature = "tls")]
mod upstream_tls;
