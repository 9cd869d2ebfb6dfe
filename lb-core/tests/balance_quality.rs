//! How good the policies are in the reference model: the flagship holds its
//! bounds, and the simple formulas show that the scenarios do tell.

#[allow(dead_code, reason = "a part is used by the example alone")]
#[path = "../examples/balance_quality/model.rs"]
mod model;
#[allow(dead_code, reason = "a part is used by the example alone")]
#[path = "../examples/balance_quality/policies.rs"]
mod policies;
#[allow(dead_code, reason = "a part is used by the example alone")]
#[path = "../examples/balance_quality/scenario.rs"]
mod scenario;

use model::Quantiles;
use policies::Rule;
use scenario::Scenario;

/// p99 in ms, the mean of a few seeds.
fn p99(file: &str, policy: &str) -> f64 {
    let file = format!("{}/tests/data/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).expect("the file is there");
    let scenario = Scenario::parse(&text).expect("the file is good");
    let rule = Rule::named(policy).expect("the policy is known");
    let seeds = scenario.seeds.iter().take(3);
    let all: Vec<_> = seeds
        .map(|seed| model::simulate(&scenario, &rule, *seed))
        .collect();
    Quantiles::mean(&all).p99_ms
}

#[test]
fn resource_based_stays_near_omniscience_with_four_gateways() {
    let best = p99("four-gateways", "omniscient_jsq");
    assert!(p99("four-gateways", "resource_based") <= 1.25 * best);
    assert!(
        p99("four-gateways", "p2c_inflight") > 1.25 * best,
        "the control"
    );
}

#[test]
fn resource_based_sees_work_that_no_gateway_sent() {
    let best = p99("hidden-jobs", "omniscient_jsq");
    assert!(p99("hidden-jobs", "resource_based") <= 1.5 * best);
    assert!(
        p99("hidden-jobs", "p2c_inflight") > 1.5 * best,
        "the control"
    );
}

#[test]
fn resource_based_does_not_herd_with_forty_gateways() {
    let blind = p99("forty-gateways", "p2c_inflight");
    assert!(p99("forty-gateways", "resource_based") <= 0.8 * blind);
    assert!(
        p99("forty-gateways", "p2c_report_x_inflight") > blind,
        "the control"
    );
}
