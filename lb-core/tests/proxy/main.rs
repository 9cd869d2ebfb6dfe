//! The reverse proxy end to end: raw bytes in, a recording origin behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod affinity;
mod corpus;
mod failover;
mod hostile;
mod http2;
mod layers;
mod origin2;
mod resilience;
mod server;
mod sessions;
mod streams;
mod support;
mod tunnels;
mod upstream_http2;
#[cfg(feature = "tls")]
mod upstream_tls;
