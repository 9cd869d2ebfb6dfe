//! 12: what ten thousand idle connections, a hundred thousand sessions and a million
//! clients cost, as the kernel counts it.

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit};

use crate::client::Held;
use crate::frame::stage::pause;
use crate::frame::{Figure, Pace, Stage, Usage, at_least, at_most};
use crate::gateway::{Order, Plan};

const CONNECTIONS: u64 = 10_000;
const PER_CONNECTION: f64 = 20.0;
const SESSIONS: u64 = 100_000;
const PER_SESSION: f64 = 200.0;
const CLIENTS: u64 = 1_000_000;
const CAPACITY: usize = 100_000;
/// Descriptors that a process needs besides.
const SPARE: u64 = 500;
const HOLD_SECONDS: f64 = 16.0;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let head_seconds = if pace.on { 8 } else { 3600 };
    let mut stage = Stage::open(Plan {
        head_seconds,
        ..Plan::default()
    })
    .await?;
    // What is allocated once is not growth.
    stage.load(200.0, 2.0, "")?.done().await?;
    let count = CONNECTIONS.min(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) - SPARE);
    let mut figures = connections(&mut stage, count, pace.on).await?;
    figures.extend(sessions(&mut stage).await?);
    figures.extend(clients(&mut stage, pace.on).await?);
    Ok(figures)
}

/// Idle ones; in the control each sits on an unfinished head instead.
async fn connections(stage: &mut Stage, count: u64, on: bool) -> Result<Vec<Figure>> {
    let manner = if on { "idle" } else { "fat" };
    let before = rss(stage)?;
    let held = stage.client(
        &format!("hold --count {count} --manner {manner}"),
        HOLD_SECONDS,
    )?;
    pause(HOLD_SECONDS - 2.0).await;
    let growth = (rss(stage)? - before) / 1024.0 / count as f64;
    let held: Vec<Held> = held.result().await?;
    let open = held
        .iter()
        .filter(|one| one.opened && one.closed_after.is_none())
        .count();
    Ok(vec![
        at_least("idle connections held", open as f64, count as f64),
        at_most("KiB per idle connection", growth, PER_CONNECTION),
    ])
}

async fn sessions(stage: &mut Stage) -> Result<Vec<Figure>> {
    let before = rss(stage)?;
    stage
        .order(&Order::FillSessions { sessions: SESSIONS })
        .await?;
    let each = (rss(stage)? - before) / SESSIONS as f64;
    Ok(vec![at_most(
        "bytes per remembered session",
        each,
        PER_SESSION,
    )])
}

/// In the control the limiter may remember everybody.
async fn clients(stage: &mut Stage, on: bool) -> Result<Vec<Figure>> {
    let capacity = if on { CAPACITY } else { 10 * CLIENTS as usize };
    let before = rss(stage)?;
    let keys = stage
        .order(&Order::FillLimiter {
            clients: CLIENTS,
            capacity,
        })
        .await?;
    let growth = (rss(stage)? - before) / f64::from(1 << 20);
    let bound = CAPACITY as f64 * PER_SESSION / f64::from(1 << 20);
    Ok(vec![
        at_most(
            "keys of a million clients in the limiter",
            keys.as_f64().context("a count")?,
            CAPACITY as f64,
        ),
        at_most("MiB of the limiter", growth, bound),
    ])
}

fn rss(stage: &mut Stage) -> Result<f64> {
    Ok(Usage::of(stage.gateway().pid()?)?.rss_bytes)
}
