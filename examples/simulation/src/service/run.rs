//! An instance as a process: listens, serves, drains on a signal.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::{App, Args};
use crate::observe;

/// From "not ready" to "no new connections": time for others to notice.
const GRACE: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or Ctrl-C, then drains. Prints the bound address as the
/// first line on standard output.
///
/// # Errors
///
/// If the address cannot be bound or the sockets fail.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let app = App::with_metrics(&args, install_metrics());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}").and_then(|()| out.flush())?;
    drop(out);

    let stop = tokio_util::sync::CancellationToken::new();
    let server =
        axum::serve(listener, app.router()).with_graceful_shutdown(stop.clone().cancelled_owned());
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        served = &mut server => return Ok(served??),
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!(instance = app.shared.id, "draining");
    app.shared.draining.cancel();
    sleep(GRACE).await;
    stop.cancel();
    app.drain().await;
    // Whatever connection is still open now has nothing left to say.
    server.abort();
    Ok(())
}

impl App {
    /// Lets open requests, streams and jobs come to their end; when the time is
    /// over, stops the jobs.
    async fn drain(&self) {
        let ended = async {
            self.shared.jobs.drain().await;
            self.shared.streams.drained().await;
            while self.requests() > 0 || self.shared.direct.active() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(self.shared.drain_time, ended).await.is_err() {
            tracing::warn!(active = self.active_work(), "the time to drain is over");
            self.shared.jobs.cancel_all();
        }
    }
}

/// `None` if the process records its metrics already.
fn install_metrics() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().ok()?;
    observe::describe();
    Some(handle)
}
