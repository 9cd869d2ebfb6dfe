//! An instance as a process: listens, registers, serves, drains on a signal.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use lb_gpu::{NvmlProbe, Sampler};
use lb_registry::{Consul, HealthRoutes, InProcess, Membership};
use tokio::net::TcpListener;

use super::{App, Args};
use crate::gpu::Gpus;
use crate::observe;
use crate::recorder::Recorder;
use crate::signal::asked_to_end;

/// The name under which instances register.
pub const SERVICE: &str = "simulation";
/// From "draining" to the drain itself: time for others to notice.
const PROPAGATION: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or Ctrl-C, then drains: not ready, known as draining to
/// the registry, jobs and streams brought to their end within the deadline,
/// deregistered. Prints the bound address as the first line on standard output.
///
/// # Errors
///
/// If the address cannot be bound, the registry's URL is none, or the sockets
/// fail. A registry that does not answer is no error: registering goes on while
/// the instance serves.
#[must_use = "nothing happens until it is awaited"]
pub fn run(args: Args) -> LocalBoxFuture<'static, anyhow::Result<()>> {
    // In a box, so that it is compiled here and not again by everybody who awaits it.
    serve(args).boxed_local()
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let registry = args.registry.as_deref().map(Consul::new).transpose();
    let registry = registry.context("--registry is no URL of a registry")?;
    let listener = TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let metrics = record();
    let gpus = Gpus::watch(Sampler::start(NvmlProbe::detect()), &args.share()).await?;
    let app = App::on(gpus, &args, metrics);
    let membership = membership(&app, address);
    // Before anybody knows the address: a signal from now on drains.
    let asked = not_ready_any_more(asked_to_end()?, app.shared.health.clone());
    app.shared.health.set_started();
    announce(address)?;
    let router = app.router();
    let served = match &registry {
        Some(registry) => {
            membership
                .serve_until(registry, listener, router, asked)
                .await
        }
        // A registry nobody else sees: the order of starting and leaving is the same.
        None => {
            let registry = InProcess::default();
            membership
                .serve_until(&registry, listener, router, asked)
                .await
        }
    };
    // What has outlived the deadline of the drain must not hold the process up.
    app.shared.jobs.cancel_all();
    Ok(served?)
}

fn membership(app: &App, address: SocketAddr) -> Membership {
    let membership = if address.ip().is_unspecified() {
        Membership::from_env(SERVICE)
    } else {
        Membership::new(SERVICE, address.to_string())
    };
    let draining = app.clone();
    membership
        .id(&app.shared.id)
        .version(env!("CARGO_PKG_VERSION"))
        .metadata("capacity", app.shared.jobs.capacity().to_string())
        // Its own routes carry load reports.
        .without_health_routes()
        .propagation(PROPAGATION)
        .drain_deadline(app.shared.drain_time)
        .on_drain(move || {
            let app = draining.clone();
            async move { app.drain().await }
        })
}

/// Readiness falls first of all.
async fn not_ready_any_more(asked: impl Future<Output = ()>, health: HealthRoutes) {
    asked.await;
    health.set_draining();
}

fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}")?;
    out.flush()
}

/// `None` if the process records its metrics already.
fn record() -> Option<Recorder> {
    let recorder = Recorder::install()?;
    observe::describe();
    lb_cache::observe::describe();
    lb_core::observe::describe();
    lb_gpu::observe::describe();
    lb_registry::observe::describe();
    Some(recorder)
}

impl App {
    /// Accepts no more jobs, and lets jobs and streams come to their end.
    /// Requests are waited for by whoever serves them.
    pub(super) async fn drain(&self) {
        self.shared.jobs.drain().await;
        self.shared.streams.drained().await;
    }
}
