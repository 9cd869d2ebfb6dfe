//! What the gateway answers itself; everything else goes on to an instance.
//!
//! | path | answer |
//! |---|---|
//! | `PUT /simulations/{id}` | takes a job in, idempotent; `?reuse=true` accepts a known result |
//! | `GET /simulations/{id}` | where it stands |
//! | `DELETE /simulations/{id}` | ends it |
//! | `GET /simulations/{id}/result` | the result alone, through the cache |
//! | `GET /simulations/{id}/progress?after=N` | WebSocket: every message after number N |
//! | `GET /simulations` | the newest hundred |
//! | `GET /`, `/dashboard.js`, `/dashboard.css` | the page |
//! | `GET /status`, `/events` | the same facts as JSON and as an event stream |
//! | `/enterprise/scaling/**` | the [`scaling`] API |
//! | `GET /metrics` | for Prometheus |
//!
//! `x-tenant`, from a trusted proxy, names the tenant of a job or a direct run; tenants share the slots
//! of instances in fair turns.
//! A client that sends too much is told so with 429 and `Retry-After`.
//!
//! A refusal is a [`Problem`]: what is wrong, where, and what to do about it.

mod dashboard;
mod id;
mod problem;
mod progress;
pub mod scaling;
mod simulations;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, put};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

pub use self::dashboard::{Board, board};
pub use self::problem::Problem;
use crate::jobs::Jobs;
use crate::ledger::{JobId, JobSpec, LedgerError, Outcome};

/// Largest specification.
pub const SPEC_BYTES: usize = 16 * 1024;
/// Progress sockets at one time.
const SOCKETS: usize = 1_024;

/// Reads and checks a specification.
pub type Check = Arc<dyn Fn(&[u8]) -> Result<JobSpec, Problem> + Send + Sync>;

/// Results that were computed before.
pub trait Results: Send + Sync + 'static {
    /// The result of this very specification, if it is at hand.
    fn known(&self, spec: &JobSpec) -> Option<Outcome>;

    /// The result of a job, read through the cache.
    fn read<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<Option<Outcome>, LedgerError>>;
}

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    jobs: Jobs,
    check: Check,
    results: Arc<dyn Results>,
    sockets: Arc<Semaphore>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// Handlers over these jobs.
    #[must_use]
    pub fn new(jobs: Jobs, check: Check, results: Arc<dyn Results>) -> Self {
        Self {
            jobs,
            check,
            results,
            sockets: Arc::new(Semaphore::new(SOCKETS)),
        }
    }

    /// The routes under `/simulations`. Nothing below that path reaches an instance.
    pub fn routes(self) -> Router {
        let job = put(simulations::submit)
            .get(simulations::view)
            .delete(simulations::cancel);
        let routes = Router::new()
            .route("/", get(simulations::list))
            .route("/{id}", job)
            .route("/{id}/result", get(simulations::result))
            .route("/{id}/progress", get(progress::follow))
            .fallback(Problem::no_such_path)
            .method_not_allowed_fallback(Problem::no_such_method)
            .layer(DefaultBodyLimit::max(SPEC_BYTES))
            .with_state(self);
        Router::new()
            .route("/simulations/", any(Problem::no_such_path))
            .nest("/simulations", routes)
    }
}
