//! Checks the pure algorithms against files of cases.
//!
//! ```text
//! cargo run --release -p lb-core --example conformance -- lb-core/tests/data/policy-cases.json
//! ```
//!
//! Prints a line per failing case and at last `N passed, M failed`; succeeds
//! only if none failed and some passed. The code called is what production uses.

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use lb_core::{
    endpoint::PeakEwma,
    outlier::{Deviation, SuccessRate},
    policy::{HashRing, KetamaRing, MaglevTable, SmoothWeights, ketama_key, priority_spill},
    retry::RetryBudget,
};
use serde_json::{Value, json};

type Answer = Result<Value, Box<dyn Error>>;

/// What the code says to the input of a case of this kind.
fn answer(kind: &str, input: &Value) -> Answer {
    match kind {
        "smooth_weighted_round_robin" => smooth_weighted_round_robin(input),
        "maglev" => maglev(input),
        "ring_hash" => ring_hash(input),
        "ketama" => ketama(input),
        "peak_ewma" => peak_ewma(input),
        "outlier_success_rate" => outlier_success_rate(input),
        "priority_spill" => spill(input),
        "retry_budget" => retry_budget(input),
        other => Err(format!("unknown kind {other}").into()),
    }
}

fn smooth_weighted_round_robin(input: &Value) -> Answer {
    let weights: Option<Vec<u32>> = list(input, "weights")?
        .iter()
        .map(|n| n.as_u64()?.try_into().ok())
        .collect();
    let smooth = SmoothWeights::new(&weights.ok_or("weights must be numbers")?);
    let picks = number(input, "picks")? as usize;
    Ok(json!({"sequence": smooth.take(picks).collect::<Vec<_>>()}))
}

fn maglev(input: &Value) -> Answer {
    let endpoints = named(input, "endpoints", "id")?;
    let table = MaglevTable::new(borrowed(&endpoints), number(input, "table_size")? as u32);
    Ok(json!({"table": table.places()}))
}

fn ring_hash(input: &Value) -> Answer {
    let endpoints = named(input, "endpoints", "id")?;
    let ring = HashRing::new(
        borrowed(&endpoints),
        number(input, "points_per_endpoint")? as u32,
    );
    let owner = |hash: &Value| -> Result<&str, Box<dyn Error>> {
        let hash: u64 = hash.as_str().ok_or("hashes are decimal strings")?.parse()?;
        Ok(&endpoints[ring.owner(hash).ok_or("nobody owns it")?].0)
    };
    let owners: Result<Vec<_>, _> = list(input, "lookup_hashes")?.iter().map(owner).collect();
    Ok(json!({"owners": owners?}))
}

fn ketama(input: &Value) -> Answer {
    let servers = named(input, "servers", "address")?;
    let ring = KetamaRing::new(borrowed(&servers));
    let owner = |key: &Value| -> Result<&str, Box<dyn Error>> {
        let key = ketama_key(key.as_str().ok_or("keys are strings")?.as_bytes());
        Ok(&servers[ring.owner(key).ok_or("nobody owns it")?].0)
    };
    let owners: Result<Vec<_>, _> = list(input, "keys")?.iter().map(owner).collect();
    Ok(json!({"owners": owners?}))
}

fn peak_ewma(input: &Value) -> Answer {
    let ms = |value: f64| Duration::from_secs_f64(value / 1e3);
    let mut ewma = PeakEwma::new(ms(number(input, "decay_ms")?));
    let start = start();
    let mut estimates = Vec::new();
    for event in list(input, "events")? {
        let now = start + ms(event[0].as_f64().ok_or("an event begins with its time")?);
        match event[1].as_f64() {
            Some(rtt) => ewma.observe(ms(rtt), now),
            None => ewma.fade(now),
        }
        estimates.push(ewma.estimate_seconds().map(|seconds| seconds * 1e3));
    }
    Ok(json!({"estimates_ms": estimates}))
}

fn outlier_success_rate(input: &Value) -> Answer {
    let rates = list(input, "success_rates")?
        .iter()
        .zip(list(input, "requests")?);
    let fleet: Vec<_> = rates
        .map(|(rate, requests)| SuccessRate {
            rate: rate.as_f64().unwrap_or(f64::NAN),
            requests: requests.as_u64().unwrap_or(0),
        })
        .collect();
    let deviation = Deviation::new(
        number(input, "stdev_factor")?,
        number(input, "min_hosts")? as usize,
        number(input, "min_requests")? as u64,
    );
    Ok(json!({"ejected": deviation.outliers(&fleet)}))
}

fn spill(input: &Value) -> Answer {
    let tier = |tier: &Value| {
        Ok((
            number(tier, "healthy")? as usize,
            number(tier, "total")? as usize,
        ))
    };
    let tiers: Result<Vec<_>, Box<dyn Error>> = list(input, "tiers")?.iter().map(tier).collect();
    Ok(json!({"percent": priority_spill(&tiers?)}))
}

fn retry_budget(input: &Value) -> Answer {
    let ttl = Duration::from_secs_f64(number(input, "ttl_s")?);
    let mut budget = RetryBudget::new(number(input, "ratio")?, ttl, number(input, "min_per_s")?);
    let start = start();
    let mut allowed = Vec::new();
    for event in list(input, "events")? {
        let now = start
            + Duration::from_secs_f64(event[0].as_f64().ok_or("an event begins with its time")?);
        let n = event[2].as_u64().ok_or("an event ends with a number")?;
        allowed.push(match event[1].as_str() {
            Some("request") => {
                budget.deposit(n, now);
                None
            }
            _ => Some((0..n).filter(|_| budget.try_withdraw(now)).count()),
        });
    }
    Ok(json!({"allowed": allowed}))
}

/// The beginning of the cases' time.
fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the cases bring their own time, relative to this"
    )]
    Instant::now()
}

fn list<'a>(input: &'a Value, field: &str) -> Result<&'a Vec<Value>, String> {
    input[field]
        .as_array()
        .ok_or_else(|| format!("{field} must be a list"))
}

fn number(input: &Value, field: &str) -> Result<f64, String> {
    input[field]
        .as_f64()
        .ok_or_else(|| format!("{field} must be a number"))
}

/// Names and weights, which are whole numbers; a weight left out is 1.
fn named(input: &Value, field: &str, name: &str) -> Result<Vec<(String, u32)>, String> {
    let one = |entry: &Value| {
        let name = entry[name]
            .as_str()
            .ok_or_else(|| format!("{name} must be text"))?;
        let weight = match &entry["weight"] {
            Value::Null => 1,
            weight => weight.as_u64().ok_or("a weight is no whole number")?,
        };
        Ok((
            name.to_owned(),
            weight.try_into().map_err(|_| "a weight is too large")?,
        ))
    };
    list(input, field)?.iter().map(one).collect()
}

fn borrowed(named: &[(String, u32)]) -> impl Iterator<Item = (&str, u32)> {
    named.iter().map(|(name, weight)| (name.as_str(), *weight))
}

/// Equal, floating-point numbers to 1e-5.
fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-5 * a.abs().max(1e-9),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => a
            .iter()
            .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b))),
        _ => expected == got,
    }
}

/// Runs the cases of one file; returns how many passed and failed.
pub(crate) fn check(file: &str) -> Result<(usize, usize), Box<dyn Error>> {
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let (mut passed, mut failed) = (0, 0);
    for case in &cases {
        let got = answer(case["kind"].as_str().unwrap_or_default(), &case["input"]);
        match got {
            Ok(got) if same(&case["expected"], &got) => passed += 1,
            got => {
                failed += 1;
                let got = got.map_or_else(|error| error.to_string(), |got| got.to_string());
                println!("{}: expected {}, got {got}", case["name"], case["expected"]);
            }
        }
    }
    Ok((passed, failed))
}

fn main() -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for file in std::env::args().skip(1) {
        match check(&file) {
            Ok((good, bad)) => {
                passed += good;
                failed += bad;
            }
            Err(error) => {
                println!("{file}: expected cases, got {error}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
