//! The composition: registry, instances, balancer, ledger, cache, autoscaler and page, as one
//! [`Gateway`] that is started and stopped.
//!
//! ```text
//!            clients ──► server ──┬─► /simulations/**  jobs ─┐
//!                                 ├─► / /status /events      ├─► pool ─► instances
//!                                 └─► everything else  proxy ┘    ▲          │
//!                                                                 │ watch    │ register
//!            autoscaler ─► processes ─► instances            registry ◄──────┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream};
use lb_autoscale::actuator::Shared;
use lb_autoscale::process::LocalProcesses;
use lb_autoscale::run::{AutoscalerHandle, Control};
use lb_autoscale::{Autoscaler, Decision, MetricSource, Spec};
use lb_core::affinity::Affinity;
use lb_core::client::TrustedProxies;
use lb_core::policy::LeastRequest;
use lb_core::proxy::ReverseProxy;
use lb_core::{EndpointId, EndpointSpec, Pool};
use lb_gpu::Sampler;
use lb_registry::{Discovery as _, EmbeddedServer, InProcess};
use serde_json::json;
use simulation::gpu::TenantWeight;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::scaling::Scaling;
use crate::http::{Api, Board};
use crate::jobs::Jobs;
use crate::ledger::{Ledger, MemoryLedger};
use crate::lifeline::Lifeline;
use crate::wiring::children::Children;
use crate::wiring::limits::{Limits, PerSecond};
use crate::wiring::results::CachedResults;
use crate::wiring::weights::Weights;
use crate::wiring::{
    SERVICE, drain, endpoints, gpu, health, keep, load, page, places, specs, tenants,
};
use crate::{clock, http, observe, server};

/// Time for instances to drain and end when the gateway does.
const LAST_CHANCE: Duration = Duration::from_secs(15);
/// Jobs on the page.
const LISTED: usize = 30;

/// What may be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients connect; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Whether scale-in waits for running work. Off only for the control run.
    pub drain: bool,
    /// What one client may send.
    pub limits: PerSecond,
    /// Whose word about clients is taken: their addresses, and their tenants.
    pub trusted: TrustedProxies,
    /// Weights of tenants in the turns for GPU slots; whoever is not named weighs 1.
    pub tenants: Vec<TenantWeight>,
}

/// A running gateway. Stop it with [`Gateway::stop`]; dropping it kills what it started.
#[derive(Debug)]
pub struct Gateway {
    /// Who gets the next request.
    pub pool: Pool,
    /// The results and their cache.
    pub results: CachedResults,
    address: SocketAddr,
    registry_address: SocketAddr,
    jobs: Jobs,
    proxy: ReverseProxy,
    autoscaler: AutoscalerHandle,
    processes: Shared<LocalProcesses>,
    gpus: Arc<Sampler>,
    /// Ends the server for clients.
    stop: CancellationToken,
    /// Ends the registry, which instances need until they are gone.
    stop_registry: CancellationToken,
    tasks: TaskTracker,
    /// Ends with this process, and with it every child that was given a share.
    pub lifeline: Arc<Lifeline>,
}

impl Gateway {
    /// Starts everything and returns once clients can connect. Instances start meanwhile.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let recorder = observe::record();
        let listener = bind(options.listen).await?;
        let (stop_registry, tasks) = (CancellationToken::new(), TaskTracker::new());
        let registry = InProcess::default();
        let registry_address = serve_registry(&registry, &stop_registry, &tasks).await?;
        let weights = Weights::default();
        let pool = pool(endpoints::sets(registry.watch(SERVICE), weights.clone()))?;
        let limits = Limits::new(options.limits, options.trusted.clone())?;
        let (gpus, any_gpu) = gpu::look().await;
        let lifeline = Arc::new(Lifeline::new()?);
        let children = Children {
            program: std::env::current_exe()?,
            registry_uri: format!("http://{registry_address}"),
            tenants: options.tenants,
            lifeline: Arc::clone(&lifeline),
        };
        let processes = children.processes(&registry);
        let processes = Shared::new(if options.drain {
            drain::drained(processes, &pool, &registry)
        } else {
            drain::not_drained(processes, &registry)
        });
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        let source = load::source(Arc::clone(&ledger), gpu::busy(gpus.handle()));
        let autoscaler = autoscaler(load::spec(any_gpu)?, source, &processes);
        let results = CachedResults::new(Arc::clone(&ledger))?;
        let places = places::places(pool.clone(), random);
        let jobs = Jobs::new(
            Arc::clone(&ledger),
            places,
            keep::keeper(results.cache.clone()),
        );
        let gateway = Self {
            address: listener.local_addr()?,
            // Limits and pages are chosen by path: none may be spelt in two ways.
            proxy: pool
                .reverse_proxy()
                .only_normal_paths()
                .trust(options.trusted.clone()),
            pool,
            results,
            registry_address,
            jobs,
            autoscaler,
            processes,
            gpus: Arc::new(gpus),
            stop: CancellationToken::new(),
            stop_registry,
            tasks,
            lifeline,
        };
        let app = gateway.app(&registry, weights, &limits, &options.trusted);
        let cache = gateway.results.cache.clone();
        let app = app.merge(observe::routes(recorder, move || cache.publish_metrics()));
        gateway
            .tasks
            .spawn(server::serve(listener, app, gateway.stop.clone()));
        Ok(gateway)
    }

    fn app(
        &self,
        registry: &InProcess,
        weights: Weights,
        limits: &Limits,
        trusted: &TrustedProxies,
    ) -> Router {
        let results = Arc::new(self.results.clone());
        let api = Api::new(self.jobs.clone(), Arc::new(specs::check), results);
        let board = Board::start(self.snapshots(registry));
        let scaling = Scaling {
            pool: self.pool.clone(),
            weights,
            limits: limits.clone(),
            registry: registry.clone(),
            control: self.control(),
            gpus: Arc::clone(&self.gpus),
            results: self.results.clone(),
            begun: clock::now(),
        };
        let clients = api.routes().fallback_service(self.proxy.clone());
        let clients = limits.wrap(tenants::believe(clients, trusted));
        let operators = http::board(board).merge(scaling.routes());
        clients.merge(operators)
    }

    /// What the page shows, taken whenever the page asks.
    fn snapshots(
        &self,
        registry: &InProcess,
    ) -> impl Fn() -> BoxFuture<'static, String> + Send + 'static {
        let (pool, results) = (self.pool.clone(), self.results.clone());
        let (ledger, control) = (Arc::clone(self.jobs.ledger()), self.autoscaler.control());
        let (registry, registry_uri) = (registry.watch(SERVICE), self.registry_uri());
        let (begun, gpus) = (clock::now(), Arc::clone(&self.gpus));
        move || {
            let (pool, stats) = (pool.status(), results.cache.stats());
            let (ledger, scaling) = (Arc::clone(&ledger), page::scaling(&control));
            let revision = registry.latest().revision;
            let registry = json!({ "uri": registry_uri, "revision": revision });
            let (uptime, gpu) = (
                clock::now().saturating_duration_since(begun),
                gpu::status(&gpus.latest()),
            );
            async move {
                let jobs =
                    json!({ "active": ledger.active(), "newest": ledger.newest(LISTED).await });
                json!({
                    "uptime_seconds": uptime.as_secs_f64(),
                    "pool": pool,
                    "jobs": jobs,
                    "scaling": scaling,
                    "cache": page::cache(&stats),
                    "gpu": gpu,
                    "registry": registry,
                })
                .to_string()
            }
            .boxed()
        }
    }

    /// Where clients connect, as in `127.0.0.1:8080`.
    #[must_use]
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Where instances register.
    #[must_use]
    pub fn registry_uri(&self) -> String {
        format!("http://{}", self.registry_address)
    }

    /// Looks at the autoscaler and steers it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.autoscaler.control()
    }

    /// Decisions that changed the size of the fleet, oldest first.
    #[must_use]
    pub fn decisions(&self) -> Vec<Arc<Decision>> {
        page::changes(&self.autoscaler)
    }

    /// Address of an instance, as in `127.0.0.1:8001`.
    #[must_use]
    pub fn authority_of(&self, instance: &str) -> Option<String> {
        let endpoint = self.pool.endpoint(&EndpointId::from(instance))?;
        Some(endpoint.uri().authority()?.to_string())
    }

    /// Waits until exactly so many instances take requests and no other is left; `false` if that
    /// did not come about in time.
    pub async fn wait_for_instances(&self, count: usize, within: Duration) -> bool {
        let settled = async {
            loop {
                let endpoints = self.pool.status().endpoints;
                if endpoints.len() == count && endpoints.iter().all(|one| one.reasons.is_empty()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(within, settled).await.is_ok()
    }

    /// Takes no new connections, ends jobs and tunnels, drains and stops the instances.
    pub async fn stop(self) {
        self.stop.cancel();
        self.jobs.shutdown().await;
        self.proxy.close_tunnels();
        let stopped = async {
            if let Some(processes) = self.processes.take().await {
                processes.shutdown().await;
            }
        };
        if tokio::time::timeout(LAST_CHANCE, stopped).await.is_err() {
            tracing::warn!("instances did not end in time and are killed");
        }
        self.stop_registry.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Looks once a second, and keeps ten minutes of decisions for whoever asks why.
fn autoscaler(
    spec: Spec,
    source: impl MetricSource + 'static,
    processes: &Shared<LocalProcesses>,
) -> AutoscalerHandle {
    Autoscaler::new(spec, source, processes.clone())
        .interval(Duration::from_secs(1))
        .keep_decisions(600)
        .run()
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; choose another address with --listen, or port 0 for a free one")
    })
}

/// The registry, over HTTP for the instances, on a free loopback port.
async fn serve_registry(
    registry: &InProcess,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<SocketAddr> {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    let (server, stop) = (EmbeddedServer::new(registry.clone()), stop.clone());
    tasks.spawn(async move {
        if let Some(Err(error)) = stop.run_until_cancelled(server.serve(listener)).await {
            tracing::error!(%error, "the registry ended");
        }
    });
    Ok(address)
}

/// The pool binds clients by a cookie that only this process can sign.
fn pool(sets: impl Stream<Item = Vec<EndpointSpec>> + Send + 'static) -> anyhow::Result<Pool> {
    let key: [u8; 32] = std::array::from_fn(|_| random() as u8);
    let pool = Pool::builder(SERVICE)
        .policy(LeastRequest::default())
        .affinity(Affinity::cookie("lb_session", key))
        .health(health::check()?)
        .outlier(health::outliers())
        .discover(sets)
        .build()?;
    Ok(pool)
}

/// Random bits: a hash under keys that the standard library draws from the operating system, 128
/// bits per thread. Enough for spreading jobs and for a cookie key that ends with this process.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}
