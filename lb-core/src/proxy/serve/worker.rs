//! One thread of a gateway: accept, serve, stop.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::incoming::ClientBody;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connection::Protocols;
use super::pace::{Pace, Paced, Paces};
use super::{BACKLOG, Order, ServeOptions};
use crate::proxy::interim::Outlet;
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

    /// Accepts until the order changes. What is returned closes when the last
    /// connection has ended.
    async fn accept(&self, listener: TcpListener) -> mpsc::Receiver<()> {
        let (open, closed) = mpsc::channel(1);
        let paces = Paces::new(self.options.head_timeout);
        let mut serving = Serving {
            protocols: Arc::new(Protocols::new(&self.options)),
            paces,
            open,
        };
        let mut orders = self.orders.clone();
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut room = true;
        loop {
            tokio::select! {
                biased;
                _ = orders.wait_for(|order| *order != Order::Serve) => {
                    serving.paces.ask_to_finish();
                    return closed;
                }
                _ = seconds.tick() => serving.paces.tick(),
                accepted = listener.accept(), if room => match accepted {
                    Ok((stream, peer)) => self.serve(stream, peer.ip(), &mut serving),
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
            room = serving.paces.has_room(self.options.max_connections);
        }
    }

    fn serve(&self, stream: TcpStream, peer: IpAddr, serving: &mut Serving) {
        // Without this a small answer may wait for the acknowledgement of the last.
        let _ = stream.set_nodelay(true);
        let pace = serving.paces.pace();
        let front = Front {
            proxy: self.proxy.clone(),
            peer,
            pace: Arc::clone(&pace),
        };
        let stream = Paced {
            stream,
            pace: Arc::clone(&pace),
        };
        let connection = serving
            .protocols
            .clone()
            .serve(stream, front, Arc::clone(&pace));
        let open = serving.open.clone();
        let task = tokio::spawn(async move {
            connection.await;
            drop(open);
        });
        serving.paces.watch(pace, task.abort_handle());
    }
}

/// What a worker knows of its connections.
struct Serving {
    protocols: Arc<Protocols>,
    paces: Paces,
    /// Held by every connection.
    open: mpsc::Sender<()>,
}

/// Waits for running requests as long as the order allows.
async fn finish(orders: &mut watch::Receiver<Order>, mut closed: mpsc::Receiver<()>) {
    let order = *orders.borrow();
    if let Order::Finish(grace) = order {
        let stopped = orders.wait_for(|order| *order == Order::Stop);
        tokio::select! {
            _ = timeout(grace, closed.recv()) => {}
            _ = stopped => {}
        }
    }
}

/// The service of one connection.
pub(super) struct Front {
    proxy: ReverseProxy,
    peer: IpAddr,
    pace: Arc<Pace>,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = ResponseFuture<ClientBody>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.pace.head_complete();
        // Nobody before HTTP/1.1 knows of interim answers; over HTTP/2 hyper knows no way.
        let version = request.version();
        let told = version == Version::HTTP_11;
        let outlet = told.then(|| Arc::clone(&self.pace) as Arc<dyn Outlet>);
        let (head, body) = request.into_parts();
        let body = ClientBody::new(body, version, &self.pace);
        self.proxy
            .forward_over((head, body), Some(self.peer), outlet)
    }
}
