//! 14: the wall clock jumps by hours, forward and back. Only what is signed with a date
//! may notice, and that to the minute.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::clock::unix_micros;
use crate::frame::stage::{Service, pause};
use crate::frame::{Figure, Pace, Stage, Wrap, at_least, at_most, exactly, holds};
use crate::gateway::{Front, Plan};
use crate::ledger::Sent;

/// Twice the quota, so that a burst would show.
const RATE: f64 = 200.0;
const QUOTA: u32 = 100;
/// The quota, and what the edges of a window add.
const MOST_PER_SECOND: f64 = 1.3 * QUOTA as f64;
const HOUR: i64 = 3600;
const LIFETIME: i64 = 2 * HOUR;
/// Tokens count in whole minutes, and the leeway is one.
const LEEWAY: i64 = 120;
/// Debian's package `faketime` puts it here.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    ensure!(Path::new(LIBRARY).exists(), "apt-get install faketime");
    let folder = tempfile::tempdir()?;
    let clock = Wall {
        file: folder.path().join("offset"),
    };
    clock.jump(0).await?;
    let mut figures = limits(&clock, pace.on).await?;
    if pace.on {
        clock.jump(0).await?;
        figures.extend(tokens(&clock).await?);
    }
    Ok(figures)
}

/// No request more than the quota, nobody ejected, whatever the clock does.
async fn limits(clock: &Wall, on: bool) -> Result<Vec<Figure>> {
    let plan = Plan {
        front: Front::Axum,
        rate: Some(QUOTA),
        naive_rate: !on,
        ..Plan::default()
    };
    let mut stage = Stage::with(4, Service::default(), plan, Some(clock.wrap())).await?;
    let load = stage.load(RATE, 12.0, "")?;
    pause(4.0).await;
    let first = unix_micros();
    clock.jump(HOUR).await?;
    pause(3.0).await;
    clock.jump(-HOUR).await?;
    let sent = load.done().await?;
    // The first second may use up the burst.
    let begun = sent.iter().map(|one| one.at).min().unwrap_or(0) + 2_000_000;
    let mut seconds = HashMap::new();
    for one in sent
        .iter()
        .filter(|one| one.is_good() && one.done() >= begun)
    {
        *seconds.entry((one.done() - begun) / 1_000_000).or_insert(0) += 1;
    }
    let most = seconds.values().max().copied().unwrap_or(0);
    let wrong = sent
        .iter()
        .filter(|one| !one.is_good() && one.status != 429)
        .count();
    let after = sent.iter().filter(|one| one.at > first);
    let origins: HashSet<_> = after
        .filter_map(|one: &Sent| one.origin.as_deref())
        .collect();
    Ok(vec![
        at_most(
            "requests let in within any second, of 1.3 x the quota",
            f64::from(most),
            MOST_PER_SECOND,
        ),
        exactly("errors besides 429", wrong, 0).of(format!("of {}", sent.len())),
        at_least(
            "origins that get requests after the jumps",
            origins.len() as f64,
            4.0,
        ),
    ])
}

/// A token is honoured for its time, and not after it.
async fn tokens(clock: &Wall) -> Result<Vec<Figure>> {
    let affinity = Some("a secret of at least sixteen bytes".to_owned());
    let plan = Plan {
        affinity,
        affinity_seconds: LIFETIME as u64,
        ..Plan::default()
    };
    let mut stage = Stage::with(4, Service::default(), plan, Some(clock.wrap())).await?;
    let gateway = stage.gateway().address();
    let (_, cookie) = ask(gateway, "").await?;
    let cookie = cookie.context("an answer that binds")?;
    let mut figures = Vec::new();
    for (offset, honoured) in [
        (0, true),
        (HOUR, true),
        (-HOUR, true),
        (LIFETIME - LEEWAY, true),
        (LIFETIME + LEEWAY, false),
    ] {
        clock.jump(offset).await?;
        let mut origins = HashSet::new();
        for _ in 0..12 {
            origins.insert(ask(gateway, &cookie).await?.0);
        }
        let what = if honoured { "honoured" } else { "refused" };
        let text = format!("a token of {LIFETIME} s is {what} at {offset:+} s");
        figures.push(holds(text, (origins.len() == 1) == honoured));
    }
    Ok(figures)
}

/// One request: who answered, and the cookie that came.
async fn ask(gateway: SocketAddr, cookie: &str) -> Result<(String, Option<String>)> {
    let mut stream = TcpStream::connect(gateway).await?;
    let head = format!(
        "GET /work/token HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-id: t\r\ncookie: {cookie}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let field = |name: &str| {
        let line = answer
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| Some(line.split_once(": ")?.1.to_owned()))
    };
    let cookie = field("set-cookie").and_then(|text| Some(text.split_once(';')?.0.to_owned()));
    Ok((field("x-origin").context("an origin answered")?, cookie))
}

/// The wall clock of a process, and of no other.
struct Wall {
    file: PathBuf,
}

impl Wall {
    /// Sets the clock this many seconds beside the true time.
    async fn jump(&self, seconds: i64) -> Result<()> {
        // Replaced in one step: it is read all the time.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}\n"))?;
        std::fs::rename(&next, &self.file)?;
        // Whoever read the clock before has used it by then.
        sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    fn wrap(&self) -> Wrap {
        let file = self.file.display().to_string();
        let values = [
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        Wrap::Environment(
            values
                .map(|(name, value)| (name.into(), value.into()))
                .to_vec(),
        )
    }
}
