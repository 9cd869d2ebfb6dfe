//! An origin that breaks on command.
//!
//! It speaks HTTP/1.1 straight on the socket, because its faults are faults of
//! connections: resets, silence, halves of messages. Every request is in its
//! ledger before anything else happens to it.

mod answer;
mod connection;
mod listen;
mod request;
mod ticks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::control;
use crate::ledger::Journal;

/// What an origin does to its requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    #[default]
    Well,
    /// Two seconds later than usual.
    Slow,
    /// Every other answer is a 500.
    Errors,
    /// Accepts and reads, and says nothing.
    Silent,
    /// A head, and nothing after it.
    Stall,
    /// Half of the answer, then a reset.
    Reset,
    /// Half of the answer, then an orderly end.
    Short,
    /// Connection attempts are not even refused.
    Blackhole,
    /// Unused connections are closed 0 to 50 ms after an answer.
    Race,
    /// 503, its health included.
    Refuse,
    /// Reads the request, resets the connection, its health included.
    Drop,
}

/// What the judge may order.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Order {
    Mode {
        mode: Mode,
    },
    /// Closes every WebSocket with this code.
    Close {
        code: u16,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[arg(long)]
    id: String,
    /// 0: any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long)]
    ledger: PathBuf,
    /// How long the work on a request takes.
    #[arg(long, default_value_t = 20)]
    delay_ms: u64,
    /// Requests worked on at once; others wait for their turn.
    #[arg(long, default_value_t = 10_000)]
    slots: usize,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    id: String,
    delay: Duration,
    slots: Semaphore,
    journal: Journal,
    mode: watch::Receiver<Mode>,
    close: watch::Receiver<Option<u16>>,
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Until the fault is over, whatever comes then.
    async fn wait_for_change(&self) {
        let mut mode = self.mode.clone();
        let now = self.mode();
        // The sender lives as long as the process.
        let _ = mode.wait_for(|mode| *mode != now).await;
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let (mode, modes) = watch::channel(Mode::default());
    let (close, closes) = watch::channel(None);
    let shared = Arc::new(Shared {
        id: arguments.id,
        delay: Duration::from_millis(arguments.delay_ms),
        slots: Semaphore::new(arguments.slots),
        journal: Journal::open(&arguments.ledger)?,
        mode: modes,
        close: closes,
    });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], arguments.port))).await?;
    let orders = TcpListener::bind("127.0.0.1:0").await?;
    control::announce(listener.local_addr()?, orders.local_addr()?);
    let (mode, close) = (Arc::new(mode), Arc::new(close));
    let obeying = control::obey(orders, move |order| {
        match order {
            Order::Mode { mode: wanted } => drop(mode.send_replace(wanted)),
            Order::Close { code } => drop(close.send_replace(Some(code))),
        }
        async { Ok(json!(true)) }
    });
    tokio::select! {
        () = obeying => Ok(()),
        ended = listen::run(listener, shared) => ended,
    }
}
