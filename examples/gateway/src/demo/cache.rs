//! What the cache in front of results is worth, in microseconds and in whole simulations.

use std::time::Duration;

use anyhow::Context as _;
use lb_cache::{Policy, TieredCache};
use serde_json::value::RawValue;

use super::{Stage, job};
use crate::clock;
use crate::ledger::{JobSpec, Outcome};

/// Entries written and read.
const ENTRIES: u32 = 1_000;
/// Length of the simulation that is asked for twice.
const SECONDS: f64 = 1.5;

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage
        .show
        .chapter("Cache: the same question twice, and what a read costs");
    let (computed, reused, result) = twice(stage).await?;
    let result: Outcome = serde_json::from_str::<Box<RawValue>>(&result)?.into();
    let latencies = latencies(&result).await?;
    let mut rows = vec![
        row("a simulation, computed", &[computed]),
        row("the same specification, ?reuse=true", &[reused]),
    ];
    let names = [
        "write one result",
        "first read (a miss: load and keep)",
        "later reads (a hit)",
    ];
    rows.extend(
        names
            .iter()
            .zip(&latencies)
            .map(|(name, times)| row(name, times)),
    );
    stage
        .show
        .table(&["what", "median", "99th percentile"], &rows);
    let faster = computed.as_secs_f64() / reused.as_secs_f64().max(1e-9);
    stage.show.claim(
        faster > 5.0,
        &format!("a known result comes {faster:.0} times faster"),
    );
    let limits = [360, 120, 10].map(Duration::from_micros);
    let beaten = latencies
        .iter()
        .zip(limits)
        .all(|(times, limit)| quantile(times, 0.5) < limit);
    stage.show.claim(
        beaten,
        "medians are below 0.36 ms (write), 0.12 ms (first read), 0.01 ms (later reads)",
    );
    Ok(())
}

/// The same question under two names, the second time with the known result accepted.
async fn twice(stage: &mut Stage<'_>) -> anyhow::Result<(Duration, Duration, String)> {
    let spec = job::spec(stage.iterations(SECONDS), 7);
    let mut results = Vec::new();
    for (id, reuse) in [("cache-first", false), ("cache-again", true)] {
        let begun = clock::now();
        job::submit(&mut stage.visitor, id, &spec, reuse).await?;
        let watched = job::watch(&stage.visitor, id, |_| job::Next::Read).await?;
        let took = clock::now().saturating_duration_since(begun);
        results.push((took, watched.result().context("no result")?.to_string()));
    }
    let same = results[0].1 == results[1].1;
    stage
        .show
        .claim(same, "the known result is the computed one");
    let (first, again) = (results.remove(0), results.remove(0));
    Ok((first.0, again.0, again.1))
}

/// Writes, first reads, later reads of a real result in a cache of the gateway's own policy.
async fn latencies(result: &Outcome) -> anyhow::Result<[Vec<Duration>; 3]> {
    let cache = TieredCache::<JobSpec, Outcome>::builder("demonstration");
    let cache = cache.policy(Policy::results()).build()?;
    let key = |number: u32| JobSpec::from(format!("specification {number}"));
    let mut times = [const { Vec::new() }; 3];
    for number in 0..ENTRIES {
        let begun = clock::now();
        cache.insert(key(number), result.clone()).await?;
        times[0].push(clock::now().saturating_duration_since(begun));
    }
    cache.clear().await?;
    for pass in [1, 2] {
        for number in 0..ENTRIES {
            let (key, loaded) = (key(number), result.clone());
            let begun = clock::now();
            cache
                .get_or_load(&key, || async { Ok::<_, std::io::Error>(loaded) })
                .await?;
            times[pass].push(clock::now().saturating_duration_since(begun));
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    Ok(times)
}

fn row(name: &str, times: &[Duration]) -> Vec<String> {
    let last = if times.len() > 1 {
        text(quantile(times, 0.99))
    } else {
        "-".into()
    };
    vec![name.to_owned(), text(quantile(times, 0.5)), last]
}

fn text(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{:.1} µs", time.as_secs_f64() * 1e6)
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let index = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}
