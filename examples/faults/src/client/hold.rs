//! Connections that are opened and kept: idle ones, and ones that never finish their head.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep_until, timeout_at};

use super::Common;
use crate::clock::now;
use crate::ledger;

/// What a connection does while it is held.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Manner {
    /// One request, its answer, then nothing.
    Idle,
    /// Nothing at all.
    Mute,
    /// One byte of a head every two seconds.
    Slow,
    /// 24 KiB of a head that never ends.
    Fat,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    count: usize,
    #[arg(long)]
    manner: Manner,
}

/// What became of one connection.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Held {
    /// It stood, and its first request was answered if it sent one.
    pub(crate) opened: bool,
    /// Seconds from its first byte until the gateway closed it; none: it did not.
    pub(crate) closed_after: Option<f64>,
}

/// Opening more at once only fills the gateway's queue.
const AT_ONCE: usize = 16;
const SLOW: Duration = Duration::from_secs(2);

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let end = now() + Duration::from_secs_f64(arguments.common.seconds);
    let mut held = JoinSet::new();
    for number in 0..arguments.count {
        let opening = hold(arguments.common.gateway, arguments.manner, end.into());
        held.spawn(opening);
        if number % AT_ONCE == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    ledger::write_all(&arguments.common.ledger, &held.join_all().await)
}

async fn hold(gateway: SocketAddr, manner: Manner, end: tokio::time::Instant) -> Held {
    let Ok(Ok(mut stream)) = timeout_at(end, TcpStream::connect(gateway)).await else {
        return Held {
            opened: false,
            closed_after: None,
        };
    };
    let begun = now();
    let opened = match manner {
        Manner::Mute => true,
        Manner::Idle => timeout_at(end, one_request(&mut stream))
            .await
            .is_ok_and(|sent| sent.is_ok()),
        Manner::Fat => stream.write_all(&fat_head()).await.is_ok(),
        Manner::Slow => stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ")
            .await
            .is_ok(),
    };
    let closed = tokio::select! {
        () = until_closed(stream, manner) => true,
        () = sleep_until(end) => false,
    };
    let after = now().saturating_duration_since(begun).as_secs_f64();
    Held {
        opened,
        closed_after: closed.then_some(after),
    }
}

async fn one_request(stream: &mut TcpStream) -> std::io::Result<()> {
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n")
        .await?;
    stream.read(&mut [0; 1024]).await.map(drop)
}

fn fat_head() -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nhost: a\r\n".to_vec();
    for number in 0..24 {
        head.extend_from_slice(format!("x-{number}: {}\r\n", "f".repeat(1000)).as_bytes());
    }
    head
}

/// Keeps the connection in its manner until the other side ends it.
async fn until_closed(stream: TcpStream, manner: Manner) {
    let (mut reading, mut writing) = stream.into_split();
    let read = async {
        let mut some = [0; 1024];
        while reading.read(&mut some).await.is_ok_and(|count| count > 0) {}
    };
    let write = async {
        let mut ticks = interval(SLOW);
        while matches!(manner, Manner::Slow) && writing.write_all(b"a").await.is_ok() {
            ticks.tick().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
