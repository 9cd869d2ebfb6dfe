//! One thread of a gateway: accept, serve, stop.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::pace::{Pace, Paced, Paces};
use super::{BACKLOG, Order, ServeOptions};
use crate::proxy::{ProxyBody, ResponseFuture, ReverseProxy};

/// The pause after an accept failed, for example because no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    pub(super) proxy: ReverseProxy,
    pub(super) options: ServeOptions,
    pub(super) orders: watch::Receiver<Order>,
    /// Its end says that this worker has ended.
    pub(super) _alive: mpsc::Sender<()>,
}

impl Worker {
    /// Tells whether it could begin, then runs until it is told to stop.
    pub(super) fn run(self, socket: TcpSocket, tell: &SyncSender<io::Result<()>>) {
        let begun = Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| {
                let guard = runtime.enter();
                let listener = socket.listen(BACKLOG)?;
                drop(guard);
                Ok((runtime, listener))
            });
        let (told, begun) = match begun {
            Ok(begun) => (tell.send(Ok(())), Some(begun)),
            Err(error) => (tell.send(Err(error)), None),
        };
        if let (Ok(()), Some((runtime, listener))) = (told, begun) {
            let mut orders = self.orders.clone();
            runtime.block_on(async {
                let connections = self.accept(listener).await;
                finish(&mut orders, connections).await;
            });
        }
    }

    /// Accepts until the order changes.
    async fn accept(&self, listener: TcpListener) -> GracefulShutdown {
        let (graceful, mut paces) = (
            GracefulShutdown::new(),
            Paces::new(self.options.head_timeout),
        );
        let mut orders = self.orders.clone();
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let builder = self.builder();
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                _ = orders.wait_for(|order| *order != Order::Serve) => return graceful,
                _ = seconds.tick() => {
                    paces.tick();
                    open = paces.count() < self.options.max_connections;
                }
                accepted = listener.accept(), if open => match accepted {
                    Ok((stream, peer)) => {
                        self.serve(&builder, stream, peer.ip(), &graceful, &mut paces);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(64 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(self.options.max_streams)
            .max_header_list_size(32 << 10)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        builder
    }

    fn serve(
        &self,
        builder: &auto::Builder<TokioExecutor>,
        stream: TcpStream,
        peer: IpAddr,
        graceful: &GracefulShutdown,
        paces: &mut Paces,
    ) {
        // Without this a small answer may wait for the acknowledgement of the last.
        let _ = stream.set_nodelay(true);
        let pace = paces.pace();
        let service = Front {
            proxy: self.proxy.clone(),
            peer,
            pace: Arc::clone(&pace),
        };
        let stream = TokioIo::new(Paced {
            stream,
            pace: Arc::clone(&pace),
        });
        let connection = builder
            .serve_connection_with_upgrades(stream, service)
            .into_owned();
        let connection = graceful.watch(connection);
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a client's connection ended");
            }
        });
        paces.watch(pace, task.abort_handle());
    }
}

/// Waits for running requests as long as the order allows.
async fn finish(orders: &mut watch::Receiver<Order>, connections: GracefulShutdown) {
    let order = *orders.borrow();
    if let Order::Finish(grace) = order {
        let stopped = orders.wait_for(|order| *order == Order::Stop);
        let finished = timeout(grace, connections.shutdown());
        tokio::select! {
            _ = finished => {}
            _ = stopped => {}
        }
    }
}

/// The service of one connection.
struct Front {
    proxy: ReverseProxy,
    peer: IpAddr,
    pace: Arc<Pace>,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = ResponseFuture<Incoming>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.pace.head_complete();
        self.proxy.forward(request, Some(self.peer))
    }
}
