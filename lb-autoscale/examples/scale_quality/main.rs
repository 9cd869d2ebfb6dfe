//! How good are the policies, side by side?
//!
//! `cargo run --release -p lb-autoscale --example scale_quality --all-features -- [--json] [TRACE.csv...]`
//! replays six generated days with ten seeds each, or the given traces
//! (`second,requests_per_second`), and compares the Kubernetes HPA, the likes of
//! Knative's KPA and KEDA, the threshold preset, and the demand preset. The
//! demand preset's target is swept until it costs what the HPA costs, so that
//! misses are compared at equal instance-hours. `--check` fails unless every claim holds: no
//! more misses than the HPA's on any trace, at most 0.7 times as many on half of them, at most a
//! quarter of KPA's changes. `--plots DIR` writes a picture of each day
//! (the first seed's, or the given traces') instead.

mod claims;
mod plot;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lb_autoscale::sim::contestants::{Demand, Hpa, Keda, Kpa, ThresholdRules};
use lb_autoscale::sim::{Outcome, Trace, World, simulate};
use lb_autoscale::spec::{SelectPolicy, SpecError};
use lb_autoscale::{Spec, presets};
use serde_json::json;

use crate::claims::Measured;

const SEEDS: u64 = 10;
const NAMES: [&str; 5] = ["hpa", "kpa", "keda", "thresholds", "ours"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut as_json, mut check, mut plots, mut files) = (false, false, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => as_json = true,
            "--check" => check = true,
            "--plots" => plots = Some(arguments.next().ok_or("--plots needs a directory")?),
            _ => files.push(argument),
        }
    }
    if let Some(directory) = plots {
        let given = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let traces = if given.is_empty() {
            Trace::all(1)
        } else {
            given
        };
        return plot::write_all(&directory, traces);
    }
    // The seeds of one trace stand next to each other.
    let (traces, seeds) = if files.is_empty() {
        let days: Vec<Vec<Trace>> = (1..=SEEDS).map(Trace::all).collect();
        let shapes = days[0].len();
        let by_shape = (0..shapes).flat_map(|shape| days.iter().map(move |day| day[shape].clone()));
        (by_shape.collect(), SEEDS as usize)
    } else {
        (files.iter().map(read).collect::<Result<Vec<_>, _>>()?, 1)
    };
    let results = compare_all(&traces)?;
    let mut measured = Vec::new();
    for (traces, results) in traces.chunks(seeds).zip(results.chunks(seeds)) {
        let outcomes = mean(results);
        report(&traces[0].name, &outcomes, as_json);
        let [hpa, kpa, _, _, ours] = outcomes;
        let trace = traces[0].name.clone();
        measured.push(Measured {
            trace,
            hpa,
            kpa,
            ours,
        });
    }
    let broken = claims::broken(&measured);
    if check && !broken.is_empty() {
        return Err(broken.join("\n").into());
    }
    Ok(())
}

fn read(path: &String) -> Result<Trace, Box<dyn std::error::Error + Send + Sync>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let name = std::path::Path::new(path)
        .file_stem()
        .map_or(path.as_str().into(), |stem| stem.to_string_lossy());
    Ok(Trace::from_csv(name, &text).map_err(|error| format!("{path}: {error}"))?)
}

/// All traces on all cores; the order of the results is that of the traces.
fn compare_all(traces: &[Trace]) -> Result<Vec<[Outcome; 5]>, SpecError> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![Ok([Outcome::default(); 5]); traces.len()]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(traces.len()) {
            scope.spawn(|| {
                loop {
                    // Relaxed: it only hands out numbers.
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(trace) = traces.get(index) else {
                        return;
                    };
                    let outcome = compare(trace);
                    if let Ok(mut done) = done.lock() {
                        done[index] = outcome;
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default().into_iter().collect()
}

fn compare(trace: &Trace) -> Result<[Outcome; 5], SpecError> {
    let world = World::default();
    let hpa = simulate(&world, trace, &mut Hpa::new(70)?);
    Ok([
        hpa,
        simulate(&world, trace, &mut Kpa::new(70.0)),
        simulate(&world, trace, &mut Keda::new(70.0)?),
        simulate(&world, trace, &mut ThresholdRules::new(SelectPolicy::Min)?),
        at_equal_cost(&world, trace, hpa.instance_hours)?.1,
    ])
}

/// Bisects the demand preset's target for as many instance-hours as `hours`;
/// of the targets tried that cost no more, the one with the fewest misses.
fn at_equal_cost(world: &World, trace: &Trace, hours: f64) -> Result<(f64, Outcome), SpecError> {
    let (mut cheap, mut dear) = (200.0, 20.0);
    let mut best: Option<(f64, Outcome)> = None;
    for _ in 0..10 {
        let target = f64::midpoint(cheap, dear);
        let outcome = replay(world, trace, target)?;
        if outcome.instance_hours > hours {
            dear = target;
            continue;
        }
        cheap = target;
        if best.is_none_or(|(_, best)| outcome.slo_miss_percent <= best.slo_miss_percent) {
            best = Some((target, outcome));
        }
    }
    match best {
        Some(best) => Ok(best),
        None => Ok((cheap, replay(world, trace, cheap)?)),
    }
}

fn replay(world: &World, trace: &Trace, target: f64) -> Result<Outcome, SpecError> {
    let spec = with_target(world, target)?;
    Ok(simulate(world, trace, &mut Demand::new(spec)))
}

/// The demand preset for `target` requests a second and instance.
fn with_target(world: &World, target: f64) -> Result<Spec, SpecError> {
    let (fewest, most) = world.instances;
    presets::demand("ours", "demand", target)
        .replicas(fewest..=most)
        .build()
}

fn mean(results: &[[Outcome; 5]]) -> [Outcome; 5] {
    let count = results.len() as f64;
    std::array::from_fn(|policy| {
        let of = |field: fn(&Outcome) -> f64| {
            results
                .iter()
                .map(|outcomes| field(&outcomes[policy]))
                .sum::<f64>()
                / count
        };
        Outcome {
            instance_hours: of(|outcome| outcome.instance_hours),
            slo_miss_percent: of(|outcome| outcome.slo_miss_percent),
            p99_wait_ms: of(|outcome| outcome.p99_wait_ms),
            changes: of(|outcome| f64::from(outcome.changes)).round() as u32,
        }
    })
}

fn report(trace: &str, outcomes: &[Outcome; 5], as_json: bool) {
    let line = |outcome: &Outcome| {
        json!({
            "instance_hours": outcome.instance_hours,
            "slo_miss_percent": outcome.slo_miss_percent,
            "p99_wait_ms": outcome.p99_wait_ms,
            "changes": outcome.changes,
        })
    };
    if as_json {
        let policies: serde_json::Map<String, serde_json::Value> = NAMES
            .iter()
            .zip(outcomes)
            .map(|(name, outcome)| ((*name).to_owned(), line(outcome)))
            .collect();
        println!("{}", json!({ "trace": trace, "policies": policies }));
        return;
    }
    println!(
        "{trace}\n  {:<12}{:>16}{:>14}{:>14}{:>9}",
        "policy", "instance-hours", "SLO miss %", "p99 wait ms", "changes"
    );
    for (name, outcome) in NAMES.iter().zip(outcomes) {
        let Outcome {
            instance_hours,
            slo_miss_percent,
            p99_wait_ms,
            changes,
        } = outcome;
        println!(
            "  {name:<12}{instance_hours:>16.1}{slo_miss_percent:>14.3}{p99_wait_ms:>14.0}{changes:>9}"
        );
    }
}
