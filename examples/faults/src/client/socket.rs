//! WebSocket clients that expect every number once, and come back after the last
//! one they saw when a connection ends.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Common;
use crate::clock::now;
use crate::ledger;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    count: usize,
    /// Connections opened per second at the beginning.
    #[arg(long, default_value_t = 500)]
    pace: u64,
}

/// What one client received.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Listened {
    pub(crate) messages: u64,
    pub(crate) gaps: u64,
    pub(crate) duplicates: u64,
    /// How connections ended before the client's time: a close code, or 1006 for none.
    pub(crate) closes: Vec<u16>,
    /// Milliseconds from an end to the first number of the next connection.
    pub(crate) reconnects: Vec<f64>,
}

/// Before another attempt, when one failed.
const PAUSE: Duration = Duration::from_millis(100);
const ABNORMAL: u16 = 1006;

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let end = Instant::from_std(now() + Duration::from_secs_f64(arguments.common.seconds));
    let between = Duration::from_secs_f64(1.0 / arguments.pace as f64);
    let mut clients = JoinSet::new();
    for _ in 0..arguments.count {
        let url = format!("ws://{}/ticks", arguments.common.gateway);
        clients.spawn(listen(arguments.common.gateway.to_string(), url, end));
        sleep(between).await;
    }
    ledger::write_all(&arguments.common.ledger, &clients.join_all().await)
}

async fn listen(gateway: String, url: String, end: Instant) -> Listened {
    let mut listened = Listened::default();
    let mut last = 0;
    let mut ended_at = None;
    while now() < end.into_std() {
        let connecting = connect(&gateway, format!("{url}?after={last}"));
        let Ok(Ok(socket)) = timeout_at(end, connecting).await else {
            sleep(PAUSE).await;
            continue;
        };
        let code = follow(socket, end, &mut last, &mut listened, &mut ended_at).await;
        let Some(code) = code else { break };
        listened.closes.push(code);
        ended_at.get_or_insert_with(now);
    }
    if ended_at.is_some() {
        // It never came back: as long as it waited.
        listened.reconnects.push(f64::INFINITY.min(1e9));
    }
    listened
}

async fn connect(gateway: &str, url: String) -> Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    Ok(client_async(url, stream).await?.0)
}

/// Counts until the connection or the time ends: the close code, or none for the time.
async fn follow(
    mut socket: WebSocketStream<TcpStream>,
    end: Instant,
    last: &mut u64,
    listened: &mut Listened,
    ended_at: &mut Option<std::time::Instant>,
) -> Option<u16> {
    let mut code = ABNORMAL;
    loop {
        let Ok(message) = timeout_at(end, socket.next()).await else {
            // The time is over: leave in good order, whatever the other side says.
            let _ = socket.close(None).await;
            return None;
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                let number = text.as_str().parse().unwrap_or(0);
                listened.take(number, last);
                if let Some(ended) = ended_at.take() {
                    let after = now().saturating_duration_since(ended);
                    listened.reconnects.push(after.as_secs_f64() * 1e3);
                }
            }
            Some(Ok(Message::Close(frame))) => {
                code = frame.map_or(1005, |frame| frame.code.into());
                let _ = socket.flush().await;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Some(code),
        }
    }
}

impl Listened {
    fn take(&mut self, number: u64, last: &mut u64) {
        self.messages += 1;
        if number <= *last {
            self.duplicates += 1;
        } else {
            self.gaps += number - *last - 1;
            *last = number;
        }
    }
}
