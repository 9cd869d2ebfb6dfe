//! The judge is seen to fail: without a drain, scale-in loses work, and the judge says so.

use std::process::Command;

#[test]
fn without_a_drain_the_judge_reports_losses() {
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["--no-drain", "--listen", "127.0.0.1:0"])
        .output()
        .expect("the gateway starts");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{words}");
    assert!(
        words.contains("BROKEN: the judge has lost nothing"),
        "{words}"
    );
    assert!(!words.contains("losses     0\n"), "{words}");
}
