//! A connection that many requests share.

use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use http::uri::Scheme;
use tokio::runtime::{self, Handle};
use tokio::task::AbortHandle;

use super::stream::Http2Stream;
use crate::breaker::Slot;
use crate::proxy::upstream::transport::Transport;

/// Requests at once on one connection, at most; the endpoint may allow fewer.
const STREAMS: usize = 100;
/// Bytes of an answer that may be under way without having been asked for.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer's head, at most.
const MAX_HEAD_BYTES: u32 = 64 << 10;

/// A connection that speaks HTTP/2. It closes when the last request on it, and the
/// pool, have let go.
#[derive(Debug)]
pub(crate) struct Session {
    requests: SendRequest<Bytes>,
    scheme: Scheme,
    /// The task that drives it belongs to this runtime.
    pub(crate) runtime: runtime::Id,
    task: AbortHandle,
    /// Counts as long as the connection is open.
    place: OnceLock<Slot>,
}

impl Session {
    /// Greets the endpoint on a new connection. For a tunnel, waits until it is
    /// known whether the endpoint takes any.
    pub(crate) async fn open(
        transport: Transport,
        scheme: Scheme,
        tunnel: bool,
    ) -> io::Result<Arc<Self>> {
        let greeted = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD_BYTES)
            .handshake(transport)
            .await;
        let (requests, mut connection) = greeted.map_err(to_io)?;
        let ping = connection.ping_pong();
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an endpoint ended");
            }
        });
        let session = Arc::new(Self {
            requests,
            scheme,
            runtime: Handle::current().id(),
            task: task.abort_handle(),
            place: OnceLock::new(),
        });
        if tunnel {
            session.learn_settings(ping).await?;
        }
        Ok(session)
    }

    /// The settings of an endpoint come before anything else that it sends.
    async fn learn_settings(&self, ping: Option<PingPong>) -> io::Result<()> {
        if let Some(mut ping) = ping {
            ping.ping(Ping::opaque()).await.map_err(to_io)?;
        }
        if self.takes_tunnels() {
            Ok(())
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Holds `place` until it is closed.
    pub(crate) fn counted(&self, place: Slot) {
        // It is counted once, when it was opened.
        let _ = self.place.set(place);
    }

    /// The endpoint takes WebSockets on this connection (RFC 8441, 3).
    pub(crate) fn takes_tunnels(&self) -> bool {
        self.requests.is_extended_connect_protocol_enabled()
    }

    /// A further request may be sent now. `holders` of this connection are not
    /// requests.
    pub(crate) fn has_room(self: &Arc<Self>, holders: usize) -> bool {
        let most = self.requests.current_max_send_streams().min(STREAMS);
        Arc::strong_count(self).saturating_sub(holders) < most
    }

    /// No request is under way. `holders` of this connection are not requests.
    pub(crate) fn is_idle(self: &Arc<Self>, holders: usize) -> bool {
        Arc::strong_count(self) <= holders
    }

    /// The endpoint has neither closed nor announced that it will.
    pub(crate) fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = self.requests.clone().poll_ready(&mut cx);
        !matches!(ready, Poll::Ready(Err(_)))
    }

    /// A stream for one request.
    pub(crate) fn stream(self: &Arc<Self>) -> Http2Stream {
        Http2Stream::new(Arc::clone(self), self.requests.clone(), self.scheme.clone())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn to_io(error: h2::Error) -> io::Error {
    io::Error::other(error)
}
