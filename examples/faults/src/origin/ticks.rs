//! A WebSocket that counts: `?after=N` begins with N + 1.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::Shared;
use super::request::Request;

/// Ten messages a second.
const EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(
    mut stream: TcpStream,
    request: &Request,
    shared: &Shared,
) -> io::Result<()> {
    let key = request.websocket.as_deref().unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    count(&mut socket, after(&request.target), shared)
        .await
        .map_err(io::Error::other)
}

fn after(target: &str) -> u64 {
    let value = target.split_once("after=").map(|(_, value)| value.parse());
    value.and_then(Result::ok).unwrap_or(0)
}

/// The code with which to close, once there is one.
async fn ordered(close: &mut watch::Receiver<Option<u16>>) -> u16 {
    let order = close.wait_for(Option::is_some).await;
    order.ok().and_then(|order| *order).unwrap_or(1011)
}

async fn count(
    socket: &mut WebSocketStream<TcpStream>,
    mut last: u64,
    shared: &Shared,
) -> tokio_tungstenite::tungstenite::Result<()> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut close = shared.close.clone();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                last += 1;
                socket.send(Message::text(last.to_string())).await?;
            }
            code = ordered(&mut close) => {
                let reason = "the instance is going away".into();
                socket.close(Some(CloseFrame { code: code.into(), reason })).await?;
                while let Some(Ok(_)) = socket.next().await {}
                return Ok(());
            }
            message = socket.next() => match message {
                Some(Ok(_)) => {}
                _ => return Ok(()),
            },
        }
    }
}
