//! What all requests share, and where each of them goes.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
use metrics_exporter_prometheus::PrometheusHandle;

use super::problem::Problem;
use super::streams::Streams;
use super::{direct, identity, progress, simulations, ticks};
use crate::engine::CpuEngine;
use crate::jobs::{Jobs, Limits};

/// Header in which each answer reports the load of its instance (ORCA, text form).
const LOAD_HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// How an instance is started.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 picks a free one. The bound address is
    /// printed as the first line.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Registry to register with, for example http://127.0.0.1:8500.
    #[arg(long)]
    pub registry: Option<String>,
    /// Name of this instance. Default: simulation-PID.
    #[arg(long)]
    pub id: Option<String>,
    /// Threads of each run; 0 means one per core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Jobs that run at the same time.
    #[arg(long, default_value_t = 2)]
    pub capacity: usize,
    /// Seconds that running jobs and streams have after SIGTERM.
    #[arg(long, default_value = "30")]
    pub drain_seconds: NonZeroU64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".into(),
            registry: None,
            id: None,
            threads: 0,
            capacity: 2,
            drain_seconds: NonZeroU64::MIN.saturating_add(29),
        }
    }
}

/// One instance, without its socket. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) id: String,
    pub(super) jobs: Jobs,
    pub(super) direct: direct::Direct,
    pub(super) streams: Streams,
    pub(super) metrics: Option<PrometheusHandle>,
    pub(super) drain_time: Duration,
}

impl App {
    /// An instance that serves no metrics.
    #[must_use]
    pub fn new(args: &Args) -> Self {
        Self::with_metrics(args, None)
    }

    pub(super) fn with_metrics(args: &Args, metrics: Option<PrometheusHandle>) -> Self {
        let limits = Limits {
            running: args.capacity.max(1),
            ..Limits::default()
        };
        let default_id = || format!("simulation-{}", std::process::id());
        Self {
            shared: Arc::new(Shared {
                id: args.id.clone().unwrap_or_else(default_id),
                jobs: Jobs::new(CpuEngine::new(args.threads), limits),
                direct: direct::Direct::new(limits.running),
                streams: Streams::default(),
                metrics,
                drain_time: Duration::from_secs(args.drain_seconds.get()),
            }),
        }
    }

    /// All routes but those for probes, which [`run`](super::run) adds.
    pub fn router(&self) -> Router {
        let simulation = put(simulations::submit)
            .get(simulations::view)
            .delete(simulations::cancel);
        Router::new()
            .route("/simulations/{id}", simulation)
            .route("/simulations/{id}/progress", get(progress::follow))
            .route("/simulate", post(direct::simulate))
            .route("/ticks", get(ticks::stream))
            .route("/whoami", get(identity::whoami))
            .route("/metrics", get(identity::metrics))
            .fallback(Problem::no_such_path)
            .method_not_allowed_fallback(Problem::no_such_method)
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(self.clone(), report_load))
            .with_state(self.clone())
    }

    /// Jobs and direct runs that run or wait.
    #[must_use]
    pub fn active_work(&self) -> usize {
        self.shared.jobs.active() + self.shared.direct.active()
    }

    /// Load in words of ORCA.
    fn load_report(&self) -> String {
        let active = self.active_work();
        let utilization = active as f64 / self.shared.jobs.capacity() as f64;
        format!("TEXT application_utilization={utilization:.3}, named_metrics.active_work={active}")
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}

async fn report_load(
    State(app): State<App>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    // A switch of protocols carries nothing that is not about the switch.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS
        && let Ok(value) = HeaderValue::try_from(app.load_report())
    {
        response.headers_mut().insert(LOAD_HEADER, value);
    }
    response
}
