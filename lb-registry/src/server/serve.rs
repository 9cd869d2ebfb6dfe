//! Accepting connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::EmbeddedServer;
use super::impatient::Impatient;

/// After an error of accept that is not one connection's fault, such as "too many open files".
const BREATHER: Duration = Duration::from_millis(50);

impl EmbeddedServer {
    /// Serves until the future is dropped; its connections end with it.
    ///
    /// # Errors
    ///
    /// If the listener has no local address. One that cannot accept for a moment is asked again.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        self.shared.store.start_timer();
        self.shared.targets.listening(listener.local_addr()?.ip());
        tokio::select! {
            never = self.accept(&listener) => never,
            never = self.persist() => never,
        }
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(self.shared.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            // Never closed, so there is always a place at some time.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return Ok(());
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = self.connection(stream);
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    tokio::time::sleep(BREATHER).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    fn connection(&self, stream: tokio::net::TcpStream) -> impl Future<Output = ()> + use<> {
        // Answers are small and awaited; a client that does not care loses nothing.
        let _ = stream.set_nodelay(true);
        let limits = &self.shared.limits;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.head_bytes.max(8_192))
            .serve_connection(
                TokioIo::new(Impatient::new(stream, limits.write_timeout)),
                TowerToHyperService::new(self.clone()),
            );
        async move {
            if let Err(error) = connection.await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection broke"
                );
            }
        }
    }

    /// Never ends; without a file it does nothing.
    async fn persist(&self) -> io::Result<()> {
        match &self.shared.persist {
            None => std::future::pending().await,
            Some(file) => crate::persist::keep(&self.shared.store, file).await,
        }
    }
}
