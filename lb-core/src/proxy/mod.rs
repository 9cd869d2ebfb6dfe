//! A reverse proxy that loses nothing and forwards nothing ambiguous.
//!
//! [`Pool::reverse_proxy`](crate::Pool::reverse_proxy) makes a [`ReverseProxy`]:
//! a tower service that is always ready and never fails. It streams both bodies
//! with back-pressure, tunnels WebSocket (HTTP/1.1 upgrade and HTTP/2 extended
//! `CONNECT`), keeps clients on their endpoint when the pool has
//! [affinity](crate::affinity), and sends a request that failed to another
//! endpoint while that is safe.
//!
//! What it promises:
//!
//! - A request whose length, host or target could be read in two ways is refused
//!   and reaches no endpoint. What is forwarded is written anew from typed parts.
//! - A client's fault is answered with a 4xx (or 501) and never counts against
//!   an endpoint. An endpoint's fault is a 502, 503 or 504 with a short JSON body;
//!   see [`ProxyError`].
//! - An answer that breaks off reaches the client as an aborted message.
//! - Raw bytes flow only after the endpoint's own, complete 101.
//! - Only idempotent requests, or requests that provably never left, are sent a
//!   second time: nothing that an endpoint may have acted upon is repeated.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use lb_core::Pool;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder("app")
//!     .endpoints(["http://127.0.0.1:8001", "http://127.0.0.1:8002"])
//!     .build()?;
//! let app = Router::new()
//!     .route("/local", get(|| async { "answered here" }))
//!     .fallback_service(pool.reverse_proxy());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What endpoints speak
//!
//! | address    | spoken                                                             |
//! |------------|--------------------------------------------------------------------|
//! | `http://`  | HTTP/1.1                                                           |
//! | `h2c://`   | HTTP/2 without encryption, known beforehand                        |
//! | `https://` | TLS (feature `tls`, `ReverseProxy::upstream_tls`) with HTTP/2 or HTTP/1.1, as both agree |
//!
//! # Compression, security headers, TLS at the entry
//!
//! It is a service like any other: `tower_http`'s `CompressionLayer` and
//! `SetResponseHeaderLayer` go around it in a router, leave tunnels and event
//! streams alone, and compress nothing twice. A server that ends TLS stands in
//! front; say so with [`behind_tls`](ReverseProxy::behind_tls). `serve_gateway`
//! takes no layers.
//!
//! # Limits
//!
//! Without feature `tls` and roots to trust, an `https` endpoint is
//! unreachable, never spoken to in plain text. A message to or from an HTTP/2
//! endpoint that has both a length and trailers loses the trailers. Interim answers (102, 103)
//! reach clients of HTTP/1.1 from `serve_gateway`; another server in front, and hyper's HTTP/2,
//! cannot send them, so they are dropped there. The server in front
//! also decides what is a request at all: with hyper, a request with both a
//! length and a chunked body loses the length before it gets here, is forwarded
//! as chunked, and its connection is closed.

mod alarm;
mod attempt;
mod body;
mod budget;
mod error;
mod exchange;
mod finish;
mod future;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod interim;
mod limits;
mod observe;
mod reused;
mod route;
mod rules;
mod second;
mod serve;
mod service;
mod timeouts;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
#[cfg(feature = "tls")]
pub mod tls;
mod total;
mod tunnel;
mod upstream;
mod waits;

pub(crate) use observe::describe;

pub use crate::client::{PeerAddr, TrustedProxies};
pub use body::{BodyError, ProxyBody};
pub use error::ProxyError;
pub use future::ResponseFuture;
pub use limits::Limits;
pub use route::RoutePolicy;
pub use rules::path::is_normal_path;
pub use rules::via::Via;
pub use serve::{GatewayServer, ServeOptions, serve_gateway};
pub use service::ReverseProxy;
pub use timeouts::Timeouts;
#[cfg(feature = "tls")]
pub use tls::{UpstreamTls, UpstreamTlsBuilder, UpstreamTlsError};
