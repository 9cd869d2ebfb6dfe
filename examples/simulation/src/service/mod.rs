//! One instance of the service: HTTP in front of [`Jobs`](crate::jobs::Jobs).
//!
//! | request                               | answer                                          |
//! |---------------------------------------|-------------------------------------------------|
//! | `PUT /simulations/{id}`               | 202 accepted, 200 the same again, 409 another spec |
//! | `GET /simulations/{id}`               | where the job stands, and its result            |
//! | `DELETE /simulations/{id}`            | stops it                                        |
//! | `GET /simulations/{id}/progress?after=N` | WebSocket of the numbered messages after N    |
//! | `POST /simulate`                      | a small run (up to a million iterations), at once |
//! | `GET /ticks?count=N&every_ms=M&from=K` | WebSocket of N numbered ticks                  |
//! | `GET /whoami`                         | which instance this is                          |
//! | `GET /gpu`, `/gpu/turns`              | the GPUs of this instance, and who waits for them |
//! | `GET /metrics`                        | for Prometheus                                  |
//! | `GET /health` `/health/detailed` `/ready` `/startup` | for probes (added by [`run`])    |
//!
//! `x-tenant` names the tenant of a job or a direct run; between tenants there are fair turns ([`gpu`](crate::gpu)).
//! Every answer carries a load report. A specification is JSON, or `text/csv` with one input a row ([`csv`](crate::csv))
//! and `?formula=…&iterations=…&seed=…`. Refusals are JSON: `error` says what is wrong, `field` where, `hint` what to
//! do about it. Bodies are limited to 64 KiB and ten seconds.
//!
//! As a process ([`run`]) it registers itself; SIGTERM (and Ctrl-C) drains: not
//! ready any more, no new jobs; open requests, streams and running jobs come to
//! their end within a deadline; deregistered; exit 0.
//!
//! ```
//! use simulation::service::{App, Args};
//! use tower::ServiceExt as _;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let app = App::new(&Args::default());
//! let request = axum::http::Request::get("/whoami").body(axum::body::Body::empty()).unwrap();
//! assert!(app.router().oneshot(request).await.unwrap().status().is_success());
//! # });
//! ```

mod app;
mod body;
mod direct;
mod gpu;
mod identity;
mod problem;
mod progress;
mod run;
mod simulations;
mod streams;
mod ticks;

pub use app::{App, Args};
pub use run::{SERVICE, run};
pub use simulations::TENANT;

#[cfg(test)]
mod tests;
