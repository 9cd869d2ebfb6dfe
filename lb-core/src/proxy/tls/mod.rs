//! TLS towards endpoints, by rustls.
//!
//! An endpoint with an `https` address is spoken to over TLS 1.2 or 1.3, its
//! certificate checked against the roots given here and against the host of its
//! address (or [one name](UpstreamTlsBuilder::server_name) for all, where
//! certificates name a service and addresses are numbers). There is no way to
//! turn the check off: without roots nothing is built, and without an
//! [`UpstreamTls`] an `https` endpoint is unreachable, never spoken to in plain
//! text.
//!
//! With a [certificate of one's own](UpstreamTlsBuilder::identity) endpoints can
//! demand to know who asks (mutual TLS). HTTP/2 is offered and used where the
//! endpoint agrees; WebSockets travel on HTTP/1.1.
//!
//! Cost: one handshake per connection, which is kept and shared like any other.
//! Sessions are resumed, so a further connection to the same endpoint is cheaper.
//! [Probes](crate::health::HttpProbe::upstream_tls) shake hands each time.
//!
//! ```no_run
//! use lb_core::Pool;
//! use lb_core::proxy::UpstreamTls;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tls = UpstreamTls::builder()
//!     .roots(std::fs::read("ca.pem")?)
//!     .identity(std::fs::read("gateway.pem")?, std::fs::read("gateway.key")?)
//!     .build()?;
//! let pool = Pool::builder("app").endpoints(["https://app-1.internal:8443"]).build()?;
//! let proxy = pool.reverse_proxy().upstream_tls(tls);
//! # Ok(()) }
//! ```
//!
//! # Limits
//!
//! Certificates are read once; build and set anew to rotate them. Revocation
//! lists are not consulted: use short-lived certificates.

mod builder;
mod connector;
mod probe;
mod stream;

pub use builder::{UpstreamTls, UpstreamTlsBuilder, UpstreamTlsError};
pub(crate) use connector::Connector;
pub(crate) use stream::Stream;
