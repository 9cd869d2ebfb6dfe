//! Load makes the fleet grow from three to five; its end makes it shrink again, and nobody who is
//! being served notices.

use std::time::Duration;

use futures_util::future::join_all;
use lb_autoscale::Decision;

use super::{Stage, job};
use crate::clock;
use crate::wiring::page;

/// Jobs at one time; with a target of two per instance they ask for five instances and more.
const JOBS: usize = 12;
/// Length of each, were it alone.
const SECONDS: f64 = 2.5;
/// Time to grow, and to shrink.
const WITHIN: Duration = Duration::from_secs(40);

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage
        .show
        .chapter("Scaling: twelve jobs at once, then none");
    let decided = stage.gateway.decisions().len();
    let iterations = stage.iterations(SECONDS);
    for number in 0..JOBS {
        let spec = job::spec(iterations, number as u64);
        job::submit(&mut stage.visitor, &format!("load-{number}"), &spec, false).await?;
    }
    let grown = wait(stage, "growing to five", 5).await;
    stage
        .show
        .claim(grown, "three instances became five under load");
    let whole = watch_all(stage).await?;
    stage.show.claim(
        whole,
        "all twelve jobs ran to their end in their first attempt",
    );
    let shrunk = wait(stage, "shrinking to three", 3).await;
    stage.show.claim(
        shrunk,
        "five instances became three once the load had ended",
    );
    for decision in stage.gateway.decisions().iter().skip(decided) {
        let leaving = decision.victims.join(", ");
        let leaving = if leaving.is_empty() {
            leaving
        } else {
            format!(" (leaving: {leaving})")
        };
        let Decision {
            current, desired, ..
        } = **decision;
        let why = page::why(decision);
        stage
            .show
            .say(&format!("   {current} -> {desired}: {why}{leaving}"));
    }
    Ok(())
}

/// Waits until so many instances serve and none is on its way out.
async fn wait(stage: &Stage<'_>, label: &str, instances: usize) -> bool {
    let bar = stage.show.bar(label, 5);
    let begun = clock::now();
    while clock::now().saturating_duration_since(begun) < WITHIN {
        let now = stage.gateway.pool.endpoints().len();
        bar.set(now as u64, format!("{now} instances"));
        if stage
            .gateway
            .wait_for_instances(instances, Duration::from_millis(200))
            .await
        {
            return true;
        }
    }
    false
}

/// Whether every job of the load was whole and needed one attempt.
async fn watch_all(stage: &Stage<'_>) -> anyhow::Result<bool> {
    let bar = stage.show.bar("jobs ended", JOBS as u64);
    let ended = std::cell::Cell::new(0);
    let jobs = (0..JOBS).map(|number| {
        let (bar, ended, visitor) = (&bar, &ended, &stage.visitor);
        async move {
            let id = format!("load-{number}");
            let watched = job::watch(visitor, &id, |_| job::Next::Read).await?;
            ended.set(ended.get() + 1);
            bar.set(ended.get(), format!("{} of {JOBS}", ended.get()));
            anyhow::Ok(watched.is_whole() && watched.attempts() == 1)
        }
    });
    let ended = join_all(jobs)
        .await
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(ended.into_iter().all(|whole| whole))
}
