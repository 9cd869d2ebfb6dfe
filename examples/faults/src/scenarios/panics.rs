//! 15: a user's callback panics. It costs one request or one tick.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::frame::judge::bad;
use crate::frame::stage::pause;
use crate::frame::{Figure, Pace, Stage, at_most, exactly, holds};
use crate::gateway::{Front, Order, Place, Plan};

const RATE: f64 = 200.0;
const PLACES: [Place; 4] = [Place::Score, Place::Key, Place::Observer, Place::Probe];
/// Of those, the ones that run as part of a request.
const IN_REQUESTS: f64 = 2.0;
const PATIENCE: u32 = 50;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let plan = Plan {
        front: Front::Axum,
        rate: Some(1_000_000),
        catch_panics: pace.on,
        ..Plan::default()
    };
    let mut stage = Stage::open(plan).await?;
    let seconds = pace.seconds(20.0, 8.0);
    let load = stage.load(RATE, seconds, "")?;
    let mut sprung = 0;
    for place in PLACES {
        pause(1.0).await;
        stage.order(&Order::Panic { place }).await?;
        sprung += usize::from(wait_until_sprung(&mut stage, place).await?);
    }
    let sent = load.done().await?;
    let unanswered = sent.iter().filter(|one| one.status == 0).count();
    let others = bad(&sent)
        .filter(|one| one.status != 500 && one.status != 0)
        .count();
    let metrics = stage.order(&Order::Metrics).await?;
    let metrics = metrics.as_str().context("metrics are text")?;
    let alive = stage.gateway().is_alive();
    Ok(vec![
        exactly("callbacks that panicked", sprung, PLACES.len()),
        exactly("requests without any answer", unanswered, 0).of(format!("of {}", sent.len())),
        at_most(
            "requests answered by 500",
            bad(&sent).count() as f64,
            IN_REQUESTS,
        ),
        exactly("errors of any other kind", others, 0),
        exactly(
            "panics of observers counted",
            count(metrics, "lb_observer_panics_total", ""),
            1,
        ),
        exactly(
            "probes counted as void",
            count(metrics, "lb_health_probes_total", "void"),
            1,
        ),
        holds("the process is alive", alive),
    ])
}

async fn wait_until_sprung(stage: &mut Stage, place: Place) -> Result<bool> {
    for _ in 0..PATIENCE {
        if stage.order(&Order::Armed { place }).await? == false {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(false)
}

/// The sum of a counter's lines that contain `label`.
fn count(metrics: &str, name: &str, label: &str) -> usize {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum::<f64>() as usize
}
