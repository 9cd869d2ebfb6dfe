//! Serves a router: the one place where connections are accepted.
//!
//! Bounded in every direction: connections at a time, bytes of a request's head, time to send one.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lb_core::proxy::PeerAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at one time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 4_096;
/// Bytes of one request's head.
const HEAD_BYTES: usize = 32 * 1024;
/// Time to send it.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which usually means: no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for requests that run when the stop comes.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// Accepts and serves until `stop`, then lets running requests end for three seconds.
pub async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some((permit, accepted)) = next(&listener, &room, &stop).await {
        match accepted {
            Ok((socket, peer)) => {
                let connection = connection((socket, peer), app.clone(), permit, stop.clone());
                connections.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    let _late_ones_are_cut = tokio::time::timeout(LAST_REQUESTS, connections.wait()).await;
}

type Accepted = std::io::Result<(TcpStream, SocketAddr)>;

/// The next connection once there is room for one; nothing after `stop`.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(OwnedSemaphorePermit, Accepted)> {
    let next = async {
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        Some((permit, listener.accept().await))
    };
    stop.run_until_cancelled(next).await?
}

async fn connection(
    (socket, peer): (TcpStream, SocketAddr),
    app: Router,
    _permit: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    // Progress messages are small and wanted now.
    let _best_effort = socket.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        // The proxy tells instances who the client is.
        request.extensions_mut().insert(PeerAddr(peer));
        TowerToHyperService::new(app.clone()).call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
