//! Does the engine decide as Kubernetes does?
//!
//! `cargo run --release -p lb-autoscale --example conformance --all-features -- FILE...`
//! reads files of cases (inputs and expected outputs of the horizontal pod
//! autoscaler's arithmetic), drives the public engine with each, prints a line
//! per failing case and at the end `N passed, M failed`.

mod build;
mod cases;
mod check;
mod whole;

use std::process::ExitCode;

use serde_json::Value;

fn main() -> ExitCode {
    let (mut passed, mut failed) = (0_u32, 0_u32);
    for path in std::env::args().skip(1) {
        let cases = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                serde_json::from_str::<Vec<Value>>(&text).map_err(|error| error.to_string())
            });
        let cases = match cases {
            Ok(cases) => cases,
            Err(error) => {
                println!("{path}: {error}");
                failed += 1;
                continue;
            }
        };
        for case in &cases {
            match check::check(case) {
                Ok(()) => passed += 1,
                Err(why) => {
                    println!("{}: {why}", case["name"].as_str().unwrap_or("unnamed"));
                    failed += 1;
                }
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
