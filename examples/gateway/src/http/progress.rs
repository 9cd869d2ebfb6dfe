//! `/simulations/{id}/progress`: the numbered messages of one job, resumable after any of them.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::id::Id;
use super::simulations::bad_query;
use super::{Api, Problem};
use crate::ledger::Message;

/// A client that does not take a message within this time is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// A quiet connection is kept alive, and found dead, by a ping this often.
const PING: Duration = Duration::from_secs(20);
/// Clients have nothing to say here.
const CLIENT_BYTES: usize = 4 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProgressQuery {
    /// The last number the client has seen; 0: none.
    after: u64,
}

/// Every message after the client's last one, and a normal close after the final one.
pub(super) async fn follow(
    State(api): State<Api>,
    Id(id): Id,
    query: Result<Query<ProgressQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let hint = "the only parameter is after=N, the last number you received";
    let Query(query) = query.map_err(|error| bad_query(&error, hint))?;
    let messages = api.jobs.ledger().follow(&id, query.after).await?;
    let upgrade = upgrade.map_err(|error| {
        let hint = "open it as a WebSocket, or read GET /simulations/{id}";
        Problem::new(StatusCode::UPGRADE_REQUIRED, error.body_text(), hint)
    })?;
    let permit = api.sockets.clone().try_acquire_owned().map_err(|_| {
        let error = "too many progress sockets are open";
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error,
            "try again in a second",
        )
    })?;
    let upgrade = upgrade
        .max_message_size(CLIENT_BYTES)
        .max_frame_size(CLIENT_BYTES);
    Ok(upgrade.on_upgrade(|socket| stream(socket, messages, permit)))
}

async fn stream(
    mut socket: WebSocket,
    mut messages: BoxStream<'static, Message>,
    _permit: OwnedSemaphorePermit,
) {
    let mut ping = tokio::time::interval(PING);
    ping.reset();
    loop {
        let frame = tokio::select! {
            message = messages.next() => match message.map(|message| serde_json::to_string(&message)) {
                Some(Ok(text)) => Frame::Text(text.into()),
                Some(Err(_)) | None => break,
            },
            // Reading answers pings and notices a client that left.
            heard = socket.recv() => match heard {
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            _ = ping.tick() => Frame::Ping(Bytes::new()),
        };
        if !send(&mut socket, frame).await {
            return;
        }
    }
    let close = CloseFrame {
        code: close_code::NORMAL,
        reason: "the simulation has ended".into(),
    };
    if send(&mut socket, Frame::Close(Some(close))).await {
        let goodbye = async { while let Some(Ok(_)) = socket.recv().await {} };
        let _gone_anyway = tokio::time::timeout(WRITE_DEADLINE, goodbye).await;
    }
}

async fn send(socket: &mut WebSocket, frame: Frame) -> bool {
    matches!(
        tokio::time::timeout(WRITE_DEADLINE, socket.send(frame)).await,
        Ok(Ok(()))
    )
}
