//! Every case in `tests/data` decides as Kubernetes does: `hpa-cases.json` is the corpus,
//! `own-cases.json` stands at the edges of each rule, computed by hand (see each `derivation`).

#[path = "../examples/conformance/build.rs"]
mod build;
#[path = "../examples/conformance/cases.rs"]
mod cases;
#[path = "../examples/conformance/check.rs"]
mod check;
#[path = "../examples/conformance/whole.rs"]
mod whole;

use serde_json::Value;

fn corpus() -> Vec<Value> {
    serde_json::from_str(include_str!("data/hpa-cases.json")).expect("the corpus is JSON")
}

fn own() -> Vec<Value> {
    serde_json::from_str(include_str!("data/own-cases.json")).expect("the cases are JSON")
}

fn failures(cases: &[Value]) -> Vec<String> {
    cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case["name"], check::check(case).err()?)))
        .collect()
}

#[test]
fn every_case_of_the_corpus_decides_as_kubernetes_does() {
    let cases = corpus();
    let failures = failures(&cases);
    assert!(cases.len() >= 175, "the corpus shrank to {}", cases.len());
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_edge_computed_by_hand_is_met() {
    let cases = own();
    let failures = failures(&cases);
    assert!(cases.len() >= 51, "only {} are left", cases.len());
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let mut case = corpus()
        .into_iter()
        .find(|case| case["expected"]["desired_replicas"].is_u64())
        .unwrap();
    case["expected"]["desired_replicas"] = 12_345.into();
    assert!(check::check(&case).is_err());
}
