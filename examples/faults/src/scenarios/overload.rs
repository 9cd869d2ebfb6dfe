//! 19: three times as much as the origins can do. They go on doing what they can.

use anyhow::Result;

use crate::clock::unix_micros;
use crate::frame::judge::{bad, between, latency_ms};
use crate::frame::stage::Service;
use crate::frame::{Figure, Pace, Stage, at_least, at_most, exactly};
use crate::gateway::{Front, Plan};
use crate::ledger::Sent;

const ORIGINS: usize = 4;
const SLOTS: usize = 4;
const DELAY_MS: u64 = 40;
/// Requests per second that the origins can serve.
const CAPACITY: f64 = (ORIGINS * SLOTS) as f64 * 1000.0 / DELAY_MS as f64;
const RECOVERY_MICROS: u64 = 2_000_000;
const SHED_MS: f64 = 50.0;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let plan = Plan {
        front: Front::Axum,
        concurrency: pace.on.then_some((ORIGINS * SLOTS) as u32),
        ..Plan::default()
    };
    let service = Service {
        delay_ms: DELAY_MS,
        slots: SLOTS,
    };
    let mut stage = Stage::with(ORIGINS, service, plan, None).await?;
    let seconds = pace.seconds(30.0, 8.0);
    let half = stage.load(CAPACITY / 2.0, seconds + 6.0, "--methods GET")?;
    let rest = stage.load(CAPACITY * 2.5, seconds, "--methods GET")?;
    let rest = rest.done().await?;
    let over = unix_micros();
    let half = half.done().await?;
    Ok(judge(&half, &rest, over, seconds))
}

/// `half` goes on after the overload; `rest` is the overload.
fn judge(half: &[Sent], rest: &[Sent], over: u64, seconds: f64) -> Vec<Figure> {
    let begun = rest.iter().map(|one| one.at).min().unwrap_or(0);
    let end = begun + (seconds * 1e6) as u64;
    let all: Vec<_> = between(half, begun, end).chain(rest).collect();
    let good = all.iter().filter(|one| one.is_good()).count();
    let is_shed = |one: &&&Sent| one.status == 503 && one.retry_after;
    let shed: Vec<_> = all.iter().filter(is_shed).copied().collect();
    let neither = all.len() - good - shed.len();
    let back: Vec<_> = between(half, over + RECOVERY_MICROS, u64::MAX)
        .cloned()
        .collect();
    vec![
        at_least(
            "good answers per second, of 80 % of what can be done",
            good as f64 / seconds,
            0.8 * CAPACITY,
        ),
        at_least(
            "requests shed by 503 with Retry-After",
            shed.len() as f64,
            1.0,
        )
        .of(format!("of {}", all.len())),
        at_most("p99 ms of those", latency_ms(shed, 0.99), SHED_MS),
        exactly("requests that were neither served nor shed", neither, 0),
        exactly("errors 2 s after the overload", bad(&back).count(), 0)
            .of(format!("of {}", back.len())),
        at_most(
            "p99 ms then, of 2 x the service time",
            latency_ms(&back, 0.99),
            2.0 * DELAY_MS as f64,
        ),
    ]
}
