//! The proxy as a server of its own: one runtime per core, no router.
//!
//! [`serve_gateway`] starts `workers` threads. Each has its own single-threaded
//! runtime and its own listening socket on the same port (`SO_REUSEPORT`), so
//! that a connection, its requests and its endpoint connections stay on one core.
//! HTTP/1.1 and HTTP/2 share the port.
//!
//! - [`options`]: what can be set.
//! - [`worker`]: one thread: accept, serve, stop.
//! - [`connection`]: one client, HTTP/1.1 or HTTP/2.
//! - [`doorbell`]: wakes a connection, and not for its own doing.
//! - [`ending`]: asks a connection to finish.
//! - [`incoming`]: the client's body.
//! - [`outbox`]: interim answers, past hyper.
//! - [`pace`]: closes connections that send their head too slowly.

mod connection;
mod doorbell;
mod ending;
mod incoming;
mod options;
mod outbox;
mod pace;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};

pub use self::options::ServeOptions;
use self::worker::Worker;
use super::ReverseProxy;

/// Connections that wait for an accept, per worker.
const BACKLOG: u32 = 1024;

/// Whether a worker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Serve,
    /// Accept nothing more; finish what runs within this time.
    Finish(Duration),
    Stop,
}

/// A running gateway. Dropping it stops every worker at once.
#[derive(Debug)]
#[must_use = "the gateway stops when this is dropped"]
pub struct GatewayServer {
    address: SocketAddr,
    order: watch::Sender<Order>,
    /// Yields nothing; closed when the last worker has ended.
    ended: mpsc::Receiver<()>,
}

/// Serves `proxy` on `options.listen`.
///
/// ```
/// use std::time::Duration;
/// use lb_core::Pool;
/// use lb_core::proxy::{ServeOptions, serve_gateway};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("app").endpoints(["http://127.0.0.1:8001"]).build()?;
/// let options = ServeOptions::new("127.0.0.1:0".parse()?).workers(2);
/// let server = serve_gateway(&pool.reverse_proxy(), &options)?;
/// assert_ne!(server.local_addr().port(), 0);
/// server.shutdown(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When the address cannot be bound, or a thread cannot be started.
pub fn serve_gateway(proxy: &ReverseProxy, options: &ServeOptions) -> io::Result<GatewayServer> {
    let (order, orders) = watch::channel(Order::Serve);
    let (alive, ended) = mpsc::channel(1);
    let mut address = options.listen;
    for index in 0..options.workers.max(1) {
        let socket = bind(address)?;
        address = socket.local_addr()?;
        let worker = Worker {
            proxy: proxy.clone(),
            options: options.clone(),
            orders: orders.clone(),
            _alive: alive.clone(),
        };
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let name = format!("lb-gateway-{index}");
        thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(socket, &tell))?;
        told.recv().map_err(|_| io::ErrorKind::BrokenPipe)??;
    }
    Ok(GatewayServer {
        address,
        order,
        ended,
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl GatewayServer {
    /// Where it listens, with the port that was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets running requests finish for at most `grace`,
    /// and returns when every worker has ended. Tunnels are not requests: close
    /// them with [`ReverseProxy::close_tunnels`] when their time is over.
    pub async fn shutdown(mut self, grace: Duration) {
        self.order.send_replace(Order::Finish(grace));
        self.ended.recv().await;
    }
}

impl Drop for GatewayServer {
    fn drop(&mut self) {
        self.order.send_replace(Order::Stop);
    }
}
