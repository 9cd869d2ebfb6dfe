//! Decides again what was decided elsewhere.
//!
//! `curl -s http://HOST/admin/record > record.json` on the machine where it happened, then
//! `cargo run -p lb-autoscale --example replay -- record.json` anywhere. Prints the decision step
//! by step, and fails if it is not the recorded one.

use std::process::ExitCode;

use lb_autoscale::explain::words;
use lb_autoscale::record::Record;

fn main() -> ExitCode {
    let outcomes: Vec<Result<(), String>> =
        std::env::args().skip(1).map(|path| replay(&path)).collect();
    for outcome in &outcomes {
        if let Err(problem) = outcome {
            eprintln!("{problem}");
        }
    }
    if !outcomes.is_empty() && outcomes.iter().all(Result::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn replay(path: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let record: Record = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let again = record.replay();
    println!("{} {} {}", again.at, record.spec.name(), again.why());
    for step in &again.trace {
        println!(
            "  {:>4} -> {:<4} {}: {}",
            step.before,
            step.after,
            step.rule,
            words(step)
        );
    }
    if again == record.decision {
        println!("the same as recorded");
        Ok(())
    } else {
        Err(format!("{path}: recorded was {}", record.decision.why()))
    }
}
