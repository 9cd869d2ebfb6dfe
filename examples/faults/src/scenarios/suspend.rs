//! 14: the gateway stands still for half a minute. Waking up, it suspects nobody.

use std::collections::HashSet;

use anyhow::Result;
use rustix::process::Signal;

use crate::clock::unix_micros;
use crate::frame::judge::{bad, between};
use crate::frame::stage::{Service, pause};
use crate::frame::{Figure, Pace, Stage, at_least, exactly};
use crate::gateway::Plan;

const RATE: f64 = 20.0;
const CALM_SECONDS: f64 = 3.0;
const AFTER_SECONDS: f64 = 6.0;
const STOPPED_SECONDS: f64 = 30.0;
/// A control need not wait as long to be found out.
const CONTROL_SECONDS: f64 = 10.0;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let plan = if pace.on {
        Plan::default()
    } else {
        Plan {
            ejection: false,
            naive_ejection: true,
            probes: false,
            panic_threshold: 0.0,
            ..Plan::default()
        }
    };
    // Long enough that some are under way when time stops.
    let service = Service {
        delay_ms: 500,
        ..Service::default()
    };
    let mut stage = Stage::with(4, service, plan, None).await?;
    let stopped_seconds = if pace.on {
        STOPPED_SECONDS
    } else {
        CONTROL_SECONDS
    };
    let seconds = CALM_SECONDS + stopped_seconds + AFTER_SECONDS;
    let load = stage.load(RATE, seconds, "--patience-ms 60000")?;
    pause(CALM_SECONDS).await;
    stage.gateway().signal(Signal::STOP)?;
    let stopped = unix_micros();
    pause(stopped_seconds).await;
    stage.gateway().signal(Signal::CONT)?;
    let woken = unix_micros();
    let sent = load.done().await?;

    let after: Vec<_> = between(&sent, woken, u64::MAX).cloned().collect();
    let meanwhile: Vec<_> = between(&sent, stopped, woken).cloned().collect();
    let origins: HashSet<_> = after
        .iter()
        .filter_map(|one| one.origin.as_deref())
        .collect();
    Ok(vec![
        at_least(
            "requests that came meanwhile",
            meanwhile.len() as f64,
            0.8 * RATE * stopped_seconds,
        ),
        exactly("of those, lost", bad(&meanwhile).count(), 0),
        exactly("errors after waking up", bad(&after).count(), 0).of(format!("of {}", after.len())),
        at_least(
            "origins that get requests after waking up",
            origins.len() as f64,
            4.0,
        ),
    ])
}
