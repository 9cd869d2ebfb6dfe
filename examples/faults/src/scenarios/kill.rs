//! 1: one origin dies under full load. Whoever may be repeated loses nothing.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::clock::{now, unix_micros};
use crate::frame::judge::{bad, between, corrupt, duplicate_posts, in_flight_posts, latency_ms};
use crate::frame::stage::pause;
use crate::frame::{Figure, Pace, Stage, at_most, exactly};
use crate::gateway::Plan;

const RATE: f64 = 500.0;
const VICTIM: usize = 0;
/// Clocks of different processes, and a signal on its way.
const SLACK: u64 = 50_000;
/// Whoever connects says what it wants within this time.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let plan = Plan {
        attempts: if pace.on { 2 } else { 1 },
        ..Plan::default()
    };
    let mut stage = Stage::open(plan).await?;
    let seconds = pace.seconds(60.0, 11.0);
    let load = stage.load(RATE, seconds, "")?;
    let calm = (seconds / 3.0).min(20.0);
    pause(calm).await;
    let died = unix_micros();
    stage.kill_origin(VICTIM).await?;
    pause(1.0).await;
    let late = requests_to_the_dead(stage.port(VICTIM), (seconds - calm - 2.0).min(20.0)).await?;
    let sent = load.done().await?;

    let survivors = [stage.seen(1)?, stage.seen(2)?, stage.seen(3)?].concat();
    let in_flight = in_flight_posts(&sent, &survivors, died, SLACK);
    let baseline = latency_ms(between(&sent, 0, died), 0.99);
    let after = latency_ms(between(&sent, died, died + 5_000_000), 0.99);
    let lost = bad(&sent).filter(|one| one.is_idempotent()).count();
    let lost_posts: Vec<_> = bad(&sent).filter(|one| !one.is_idempotent()).collect();
    let unexplained = lost_posts
        .iter()
        .filter(|one| !in_flight.contains(one.id.as_str()))
        .count();
    Ok(vec![
        exactly("errors on GET, PUT, DELETE", lost, 0).of(format!("of {}", sent.len())),
        at_most(
            "errors on POST, of those in flight there",
            lost_posts.len() as f64,
            in_flight.len() as f64,
        ),
        exactly(
            "errors on POST that were not in flight there",
            unexplained,
            0,
        ),
        at_most(
            "p99 ms in the 5 s after, of 3 x before",
            after,
            3.0 * baseline,
        ),
        exactly("requests to the dead after 1 s", late, 0),
        exactly(
            "POSTs executed twice",
            duplicate_posts(&stage.seen_by_all()?),
            0,
        ),
        exactly("cut answers that look complete", corrupt(&sent), 0),
    ])
}

/// Sits on the dead one's port, answers nothing, and counts who still comes with more
/// than a probe.
async fn requests_to_the_dead(port: u16, seconds: f64) -> Result<usize> {
    let end = now() + Duration::from_secs_f64(seconds);
    let grave = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut requests = 0;
    while let Ok(accepted) = tokio::time::timeout_at(end.into(), grave.accept()).await {
        let (stream, _) = accepted?;
        let mut line = String::new();
        let mut stream = BufReader::new(stream);
        let reading = timeout(PATIENCE, stream.read_line(&mut line)).await;
        requests += usize::from(matches!(reading, Ok(Ok(_))) && line.contains("/work/"));
    }
    Ok(requests)
}
