//! The published and derived cases of the pure algorithms, by the same code as
//! `cargo run --example conformance`.

#[allow(dead_code, reason = "the example's own entry is not used here")]
#[path = "../examples/conformance.rs"]
mod runner;

fn passes(file: &str, least: usize) {
    let file = format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
    let (passed, failed) = runner::check(&file).expect("the file is good");
    assert_eq!(failed, 0);
    assert!(passed >= least, "{passed}");
}

#[test]
fn every_case_of_the_policy_corpus_passes() {
    passes("policy-cases.json", 39);
}

/// Worked out by `awkward-cases.py` beside the file.
#[test]
fn every_awkward_case_passes() {
    passes("awkward-cases.json", 52);
}
