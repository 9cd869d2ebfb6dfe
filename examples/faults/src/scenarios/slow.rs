//! 11: a thousand clients that send their head byte by byte.

use anyhow::Result;

use crate::client::Held;
use crate::clock::unix_micros;
use crate::frame::judge::{bad, between, latency_ms};
use crate::frame::stage::{Service, pause};
use crate::frame::{Figure, Pace, Stage, at_least, at_most, exactly};
use crate::gateway::Plan;

const RATE: f64 = 200.0;
const ATTACKERS: usize = 1000;
const CALM_SECONDS: f64 = 5.0;
const CLOSED_WITHIN: f64 = 10.0;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let head_seconds = if pace.on { 8 } else { 3600 };
    let service = Service {
        delay_ms: 50,
        ..Service::default()
    };
    let mut stage = Stage::with(
        4,
        service,
        Plan {
            head_seconds,
            ..Plan::default()
        },
        None,
    )
    .await?;
    let attack_seconds = pace.seconds(30.0, 12.0);
    let load = stage.load(RATE, CALM_SECONDS + attack_seconds, "")?;
    pause(CALM_SECONDS).await;
    let from = unix_micros();
    let attack = stage.client(
        &format!("hold --count {ATTACKERS} --manner slow"),
        attack_seconds,
    )?;
    let held: Vec<Held> = attack.result().await?;
    let sent = load.done().await?;

    let opened = held.iter().filter(|one| one.opened).count();
    let open = held.iter().filter(|one| one.closed_after.is_none()).count();
    let slowest = held
        .iter()
        .filter_map(|one| one.closed_after)
        .fold(0.0, f64::max);
    let baseline = latency_ms(between(&sent, 0, from), 0.99);
    let during = latency_ms(between(&sent, from, u64::MAX), 0.99);
    Ok(vec![
        at_least("slow connections opened", opened as f64, ATTACKERS as f64),
        exactly("slow connections that were never closed", open, 0),
        at_most(
            "seconds until the last of them was closed",
            slowest,
            CLOSED_WITHIN,
        ),
        exactly("errors of the others", bad(&sent).count(), 0).of(format!("of {}", sent.len())),
        at_most(
            "p99 ms of the others, of 2 x before",
            during,
            2.0 * baseline,
        ),
    ])
}
