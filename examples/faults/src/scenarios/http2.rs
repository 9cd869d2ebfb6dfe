//! 17: hostile HTTP/2. The attacker's connection ends or stalls; the others notice nothing.

use anyhow::{Context, Result};

use crate::client::attack::Attacked;
use crate::clock::unix_micros;
use crate::frame::judge::{bad, between, executions, latency_ms};
use crate::frame::stage::{Service, pause};
use crate::frame::{Figure, Pace, Stage, Usage, at_most, exactly, holds};
use crate::gateway::{Front, Plan};

const RATE: f64 = 200.0;
const CALM_SECONDS: f64 = 4.0;
/// An attack and the units that it consists of at most.
const ATTACKS: [(&str, u32); 6] = [
    ("rapid-reset", 10_000),
    ("continuation", 10_000),
    ("settings", 200_000),
    ("ping", 200_000),
    ("zero-window", 1_000),
    ("tiny-data", 50_000),
];
/// Those that only the end of the connection stops.
const MUST_END: [&str; 2] = ["rapid-reset", "continuation"];
const UPSTREAM: f64 = 1_000.0;
const GROWTH_MIB: f64 = 32.0;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let front = if pace.on { Front::Own } else { Front::Naive };
    let service = Service {
        delay_ms: 50,
        ..Service::default()
    };
    let mut stage = Stage::with(
        4,
        service,
        Plan {
            front,
            ..Plan::default()
        },
        None,
    )
    .await?;
    let each = pace.seconds(10.0, 3.0);
    let load = stage.load(RATE, CALM_SECONDS + each * ATTACKS.len() as f64, "")?;
    pause(CALM_SECONDS).await;
    let (from, before) = (unix_micros(), rss_mib(&mut stage)?);
    let mut figures = Vec::new();
    let (mut most, mut begun) = (before, Vec::new());
    for (kind, count) in ATTACKS {
        begun.push((kind, unix_micros()));
        let attack = stage.client(&format!("attack --kind {kind} --count {count}"), each)?;
        pause(each * 0.8).await;
        most = most.max(rss_mib(&mut stage)?);
        let attacked: Vec<Attacked> = attack.result().await?;
        let attacked = attacked.first().context("one attack, one line")?;
        if MUST_END.contains(&kind) {
            let ended = attacked.goaway || attacked.closed;
            figures.push(holds(format!("{kind}: the connection is ended"), ended));
        }
    }
    let sent = load.done().await?;
    let seen = stage.seen_by_all()?;
    let upstream = executions(&seen)
        .iter()
        .filter(|(id, _)| id.starts_with("attack"))
        .count();
    let baseline = latency_ms(between(&sent, 0, from), 0.99);
    figures.extend([
        at_most(
            "requests of attackers that reached origins",
            upstream as f64,
            UPSTREAM,
        ),
        at_most("MiB that the gateway grew", most - before, GROWTH_MIB),
        exactly("errors of the others", bad(&sent).count(), 0).of(format!("of {}", sent.len())),
    ]);
    for (at, (kind, from)) in begun.iter().enumerate() {
        let to = begun.get(at + 1).map_or(u64::MAX, |(_, next)| *next);
        let during = latency_ms(between(&sent, *from, to), 0.99);
        let what = format!("p99 ms of the others during {kind}, of 2 x before");
        figures.push(at_most(what, during, 2.0 * baseline));
    }
    Ok(figures)
}

fn rss_mib(stage: &mut Stage) -> Result<f64> {
    Ok(Usage::of(stage.gateway().pid()?)?.rss_bytes / f64::from(1 << 20))
}
