//! What the WebSockets have in common: a limited number, patience with slow
//! clients but not without end, and a proper goodbye.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, interval, timeout};

use super::problem::Problem;

/// Open WebSockets of one instance.
const MAX_OPEN: usize = 1_024;
/// A client that takes nothing for this long is gone.
const SEND_TIME: Duration = Duration::from_secs(30);
/// A quiet stream says this often that it is alive; well within an hour's idle allowance.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Clients have nothing to say.
const MAX_CLIENT_BYTES: usize = 4 * 1024;

/// The open WebSockets of an instance.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    room: Arc<Semaphore>,
}

/// One open WebSocket.
pub(super) struct Stream {
    socket: WebSocket,
    ping: Interval,
    _room: OwnedSemaphorePermit,
}

/// What a stream's client did while the stream was waiting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that matters.
    Nothing,
    /// It left.
    Gone,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(MAX_OPEN)),
        }
    }
}

impl Streams {
    pub(super) fn open(&self) -> usize {
        MAX_OPEN - self.room.available_permits()
    }

    /// Resolves when no stream is open.
    pub(super) async fn drained(&self) {
        let all = u32::try_from(MAX_OPEN).unwrap_or(u32::MAX);
        let _all_closed = self.room.acquire_many(all).await;
    }

    /// Accepts the upgrade; `serve` then has the stream.
    pub(super) fn accept<F>(
        &self,
        upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
        serve: impl FnOnce(Stream) -> F + Send + 'static,
    ) -> Result<axum::response::Response, Problem>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let upgrade = upgrade.map_err(|error| {
            let hint = "open it as a WebSocket";
            Problem::new(StatusCode::UPGRADE_REQUIRED, error.body_text(), hint)
        })?;
        let room = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| Problem::busy(format!("{MAX_OPEN} streams are open")))?;
        let upgrade = upgrade
            .max_message_size(MAX_CLIENT_BYTES)
            .max_frame_size(MAX_CLIENT_BYTES);
        Ok(upgrade.on_upgrade(move |socket| {
            let mut ping = interval(PING_EVERY);
            ping.reset();
            serve(Stream {
                socket,
                ping,
                _room: room,
            })
        }))
    }
}

impl Stream {
    /// Sends one text; `false` if the client is gone.
    pub(super) async fn send(&mut self, text: String) -> bool {
        self.frame(Frame::Text(text.into())).await
    }

    /// Looks after the connection until the client says something.
    pub(super) async fn listen(&mut self) -> Heard {
        tokio::select! {
            heard = self.socket.recv() => match heard {
                Some(Ok(Frame::Close(_)) | Err(_)) | None => Heard::Gone,
                Some(Ok(_)) => Heard::Nothing,
            },
            _ = self.ping.tick() => {
                if self.frame(Frame::Ping(Bytes::new())).await { Heard::Nothing } else { Heard::Gone }
            }
        }
    }

    /// Says goodbye with code 1000 and waits for the answer.
    pub(super) async fn close(mut self, reason: &'static str) {
        let close = CloseFrame {
            code: close_code::NORMAL,
            reason: reason.into(),
        };
        if self.frame(Frame::Close(Some(close))).await {
            let goodbye = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            let _gone_anyway = timeout(Duration::from_secs(5), goodbye).await;
        }
    }

    async fn frame(&mut self, frame: Frame) -> bool {
        matches!(
            timeout(SEND_TIME, self.socket.send(frame)).await,
            Ok(Ok(()))
        )
    }
}
