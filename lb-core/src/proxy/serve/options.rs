//! What can be set for a gateway of its own.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// How [`serve_gateway`](super::serve_gateway) serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    pub(super) listen: SocketAddr,
    pub(super) workers: usize,
    pub(super) head_timeout: Duration,
    pub(super) max_connections: usize,
    pub(super) max_streams: u32,
}

impl ServeOptions {
    /// Listens there, with one worker per core.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            workers: thread::available_parallelism().map_or(1, usize::from),
            head_timeout: Duration::from_secs(10),
            max_connections: 16 << 10,
            max_streams: 100,
        }
    }

    /// Threads, each with a runtime of its own. Default: one per core.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// A request head that was begun must be complete within this time, give or
    /// take a second, or its connection is closed. A client that was refused before it
    /// had sent its body has as long to stop sending. Default: 10 s.
    #[must_use]
    pub fn head_timeout(mut self, limit: Duration) -> Self {
        self.head_timeout = limit;
        self
    }

    /// Connections per worker; beyond, nothing is accepted until one ends.
    /// Default: 16384.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// Concurrent requests on one HTTP/2 connection. Default: 100.
    #[must_use]
    pub fn max_streams(mut self, count: u32) -> Self {
        self.max_streams = count;
        self
    }
}
