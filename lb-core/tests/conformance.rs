//! The published and derived cases of the pure algorithms, by the same code as
//! `cargo run --example conformance`.

#[allow(dead_code, reason = "the example's own entry is not used here")]
#[path = "../examples/conformance.rs"]
mod runner;

#[test]
fn every_case_of_the_policy_corpus_passes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/policy-cases.json");
    let (passed, failed) = runner::check(file).expect("the file is good");
    assert_eq!(failed, 0);
    assert!(passed >= 39, "{passed}");
}
