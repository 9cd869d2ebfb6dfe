//! How good is each policy? The public pickers in a queueing model.
//!
//! ```text
//! cargo run --release -p lb-core --example balance_quality -- \
//!     --scenario lb-core/tests/data/four-gateways.json [FILE...] [--policies a,b] [--json] [--svg OUT]
//! ```
//!
//! Prints p50 and p99 of the time in system, the mean over a scenario's seeds,
//! per policy; with `--json` one line per scenario. `--svg` also draws them.

mod model;
mod policies;
mod scenario;
mod svg;

use std::{error::Error, fs, process::ExitCode};

use serde_json::{Map, json};

use crate::{
    model::{Quantiles, simulate},
    policies::{NAMES, Rule},
    scenario::Scenario,
};

/// One scenario's answers, policy by policy.
type Row = Vec<(String, Quantiles)>;

#[derive(Default)]
struct Args {
    scenarios: Vec<String>,
    policies: Vec<String>,
    json: bool,
    svg: Option<String>,
}

impl Args {
    fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => args.json = true,
                "--svg" => args.svg = Some(words.next().ok_or("--svg needs a file")?),
                "--policies" => {
                    let list = words.next().ok_or("--policies needs names")?;
                    args.policies = list.split(',').map(Into::into).collect();
                }
                // Any number of files may follow, or a `--scenario` before each.
                "--scenario" => {}
                flag if flag.starts_with("--") => return Err(format!("unknown option {flag}")),
                file => args.scenarios.push(file.to_owned()),
            }
        }
        if args.scenarios.is_empty() {
            return Err("name a scenario: --scenario FILE...".to_owned());
        }
        if args.policies.is_empty() {
            args.policies = NAMES.iter().map(|name| (*name).to_owned()).collect();
        }
        Ok(args)
    }
}

/// The mean over the scenario's seeds, two at a time.
fn measure(scenario: &Scenario, policy: &str) -> Result<Quantiles, Box<dyn Error>> {
    let rule = Rule::named(policy).ok_or_else(|| format!("unknown policy {policy}"))?;
    let run = |seeds: &[u64]| -> Vec<Quantiles> {
        seeds
            .iter()
            .map(|seed| simulate(scenario, &rule, *seed))
            .collect()
    };
    let (left, right) = scenario.seeds.split_at(scenario.seeds.len() / 2);
    let all = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(right));
        let mut all = run(left);
        all.extend(other.join().expect("the model does not panic"));
        all
    });
    Ok(Quantiles::mean(&all))
}

fn print(scenario: &Scenario, row: &Row, as_json: bool) {
    if as_json {
        let policies: Map<_, _> = row
            .iter()
            .map(|(name, q)| {
                (
                    name.clone(),
                    json!({"p50_ms": q.p50_ms, "p99_ms": q.p99_ms}),
                )
            })
            .collect();
        println!(
            "{}",
            json!({"scenario": scenario.name, "policies": policies})
        );
        return;
    }
    println!("{}", scenario.name);
    for (name, q) in row {
        println!("  {name:24} p50 {:7.0}   p99 {:7.0}", q.p50_ms, q.p99_ms);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args = Args::parse(std::env::args().skip(1))?;
    let mut drawn = Vec::new();
    for file in &args.scenarios {
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let scenario = Scenario::parse(&text).map_err(|error| format!("{file}: {error}"))?;
        let row: Result<Row, _> = args
            .policies
            .iter()
            .map(|policy| Ok((policy.clone(), measure(&scenario, policy)?)))
            .collect();
        let row = row.map_err(|error: Box<dyn Error>| error)?;
        print(&scenario, &row, args.json);
        drawn.push((scenario.name, row));
    }
    if let Some(file) = args.svg {
        fs::write(file, svg::draw(&drawn))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("balance_quality: {error}");
            ExitCode::FAILURE
        }
    }
}
