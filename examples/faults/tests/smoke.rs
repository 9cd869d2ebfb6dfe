//! One scenario and its control, as `make faults` runs them: the frame itself works.
//! Which one: the rolling restart, because it judges losses only and no times.

use std::process::Command;

#[test]
fn a_rolling_restart_loses_nothing_and_its_control_is_rejected() {
    let ran = Command::new(env!("CARGO_BIN_EXE_faults"))
        .args(["run", "--quick", "--only", "2", "--json"])
        .output()
        .expect("the binary of this package starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).expect("one line of JSON");
    let missed = |run: &str| {
        let figures = report[run]["figures"].as_array().expect("figures");
        figures.iter().filter(|one| one["met"] == false).count()
    };
    assert_eq!(missed("with"), 0);
    assert!(missed("without") > 0);
}
