//! Accepting, and not even that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Mode, Shared, connection};

/// A loopback connection that takes longer is not answered.
const UNANSWERED: Duration = Duration::from_millis(200);

/// Accepts until the process ends; during a blackhole nobody does.
pub(super) async fn run(mut listener: TcpListener, shared: Arc<Shared>) -> Result<()> {
    let address = listener.local_addr()?;
    let mut modes = shared.mode.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tokio::spawn(connection::serve(stream, Arc::clone(&shared)));
            }
            () = until(&mut modes, |mode| mode == Mode::Blackhole) => {
                drop(listener);
                let hole = Blackhole::open(address).await?;
                until(&mut modes, |mode| mode != Mode::Blackhole).await;
                drop(hole);
                listener = TcpListener::bind(address).await?;
            }
        }
    }
}

async fn until(modes: &mut watch::Receiver<Mode>, reached: impl Fn(Mode) -> bool) {
    // The sender lives as long as the process.
    let _ = modes.wait_for(|mode| reached(*mode)).await;
}

/// A listener with a full queue: the kernel ignores whoever else wants to connect.
struct Blackhole {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Blackhole {
    async fn open(address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(0)?;
        let mut queue = Vec::new();
        while let Ok(connected) = timeout(UNANSWERED, TcpStream::connect(address)).await {
            queue.push(connected?);
        }
        Ok(Self {
            _listener: listener,
            _queue: queue,
        })
    }
}
