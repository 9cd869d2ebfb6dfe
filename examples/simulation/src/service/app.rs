//! What all requests share, and where each of them goes.

use std::future::ready;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use lb_core::report::{HostSampler, ReportLayer};
use lb_gpu::Ratio;
use lb_registry::HealthRoutes;
use tower_layer::Layer as _;

use super::problem::Problem;
use super::streams::Streams;
use super::{direct, gpu, identity, progress, simulations, ticks};
use crate::gpu::{Gpus, Share, TenantWeight};
use crate::jobs::{Jobs, Limits};
use crate::recorder::Recorder;
use montecarlo::engine::CpuEngine;

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
    /// Work on this GPU only, counted from 0 and round where there are fewer. Default: on all.
    #[arg(long)]
    pub gpu: Option<usize>,
    /// Weight of a tenant in the turns for GPU slots, as in research=3; 1 for all others.
    #[arg(long = "tenant", value_name = "NAME=WEIGHT")]
    pub tenants: Vec<TenantWeight>,
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
            gpu: None,
            tenants: Vec::new(),
            drain_seconds: NonZeroU64::MIN.saturating_add(29),
        }
    }
}

impl Args {
    /// Jobs that run at the same time, at least one.
    fn slots(&self) -> u32 {
        u32::try_from(self.capacity.max(1)).unwrap_or(u32::MAX)
    }

    /// How this instance shares its GPUs.
    pub(super) fn share(&self) -> Share {
        Share {
            only: self.gpu,
            slots: self.slots(),
            tenants: self.tenants.clone(),
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
    pub(super) gpus: Gpus,
    pub(super) health: HealthRoutes,
    pub(super) direct: direct::Direct,
    pub(super) streams: Streams,
    pub(super) metrics: Option<Recorder>,
    pub(super) drain_time: Duration,
}

impl App {
    /// An instance that serves no metrics and has no GPU.
    #[must_use]
    pub fn new(args: &Args) -> Self {
        Self::on(Gpus::none(args.slots()), args, None)
    }

    pub(super) fn on(gpus: Gpus, args: &Args, metrics: Option<Recorder>) -> Self {
        let limits = Limits {
            running: args.capacity.max(1),
            ..Limits::default()
        };
        let default_id = || format!("simulation-{}", std::process::id());
        Self {
            shared: Arc::new(Shared {
                id: args.id.clone().unwrap_or_else(default_id),
                jobs: Jobs::on(gpus.clone(), CpuEngine::new(args.threads), limits),
                health: health(gpus.clone()),
                gpus,
                direct: direct::Direct::new(limits.running),
                streams: Streams::default(),
                metrics,
                drain_time: Duration::from_secs(args.drain_seconds.get()),
            }),
        }
    }

    /// All routes, probes included. Every answer carries the load of this instance.
    pub fn router(&self) -> Router {
        let simulation = put(simulations::submit)
            .get(simulations::view)
            .delete(simulations::cancel);
        let routes = Router::new()
            .route("/simulations/{id}", simulation)
            .route("/simulations/{id}/progress", get(progress::follow))
            .route("/simulate", post(direct::simulate))
            .route("/ticks", get(ticks::stream))
            .route("/whoami", get(identity::whoami))
            .route("/gpu", get(gpu::report))
            .route("/gpu/turns", get(gpu::turns))
            .route("/metrics", get(identity::metrics))
            .fallback(Problem::no_such_path)
            .method_not_allowed_fallback(Problem::no_such_method)
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
            .merge(self.shared.health.router());
        // One service for all routes: they are one instance, with one rate of requests.
        Router::new().fallback_service(self.reports().layer(routes))
    }

    /// Jobs and direct runs that run or wait.
    #[must_use]
    pub fn active_work(&self) -> usize {
        self.shared.jobs.active() + self.shared.direct.active()
    }

    /// What this instance says of its load.
    fn reports(&self) -> ReportLayer {
        let work = self.clone();
        let gpus = [(); 3].map(|()| self.shared.gpus.clone());
        let [busy, memory, slots] = gpus;
        ReportLayer::new()
            .capacity(u32::try_from(self.shared.jobs.capacity()).unwrap_or(u32::MAX))
            .active_work(move || Some(work.active_work() as f64))
            .host(HostSampler::new())
            .utilization("gpu", move || busy.load().gpu.map(Ratio::get))
            .utilization("gpu_mem", move || memory.load().gpu_mem.map(Ratio::get))
            .utilization("slots", move || slots.load().slots.map(Ratio::get))
    }
}

/// Ready as long as there is a GPU that works, if there ever was one.
fn health(gpus: Gpus) -> HealthRoutes {
    HealthRoutes::default().dependency("gpu", move || {
        let signal = gpus.signal();
        let cause = signal.cause.unwrap_or_else(|| "unfit".to_owned());
        ready(if signal.fit { Ok(()) } else { Err(cause) })
    })
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}
