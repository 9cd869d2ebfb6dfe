//! Every policy and every tuning survives its JSON form.

use lb_core::policy::{
    Combine, ConsistentHash, HashAlgorithm, LeastRequest, LeastResponseTime, Policy, PolicyConfig,
    Prequal, PriorityTiers, Random, ResourceBased, RoundRobin, Subset, SubsetFallback,
    WeightedRoundRobin, ZoneAware,
};
use proptest::prelude::*;

/// A number as a person would write it: sixty-fourths, which JSON tells exactly.
/// (By default `serde_json` reads the last of seventeen digits one off.)
fn number(range: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = f64> {
    range.prop_map(|n| f64::from(n) / 64.0)
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), number(0..=64_000_000)]
}

fn hashes() -> impl Strategy<Value = PolicyConfig> {
    let algorithm = prop_oneof![
        (1u32..500).prop_map(|points| HashAlgorithm::Ring { points }),
        Just(HashAlgorithm::Ketama),
        prop::sample::select(vec![7, 251, 65_537])
            .prop_map(|table_size| { HashAlgorithm::Maglev { table_size } }),
        Just(HashAlgorithm::Rendezvous),
    ];
    (algorithm, prop::option::of(number(64..=640))).prop_map(|(algorithm, bound)| {
        let mut hash = ConsistentHash::default();
        (hash.algorithm, hash.bound) = (algorithm, bound);
        hash.into()
    })
}

fn resources() -> impl Strategy<Value = PolicyConfig> {
    let combine = prop_oneof![Just(Combine::Dominant), Just(Combine::Weighted)];
    let weights = (weight(), weight(), weight(), weight(), weight());
    (weights, combine, any::<bool>()).prop_map(|(weights, combine, aware)| {
        let mut policy = ResourceBased::default().failure_aware(aware);
        let (cpu, gpu, memory, application, active_work) = weights;
        (policy.cpu, policy.gpu, policy.memory) = (cpu, gpu, memory);
        (policy.application, policy.active_work) = (application, active_work);
        policy.combine = combine;
        policy.into()
    })
}

fn simple() -> impl Strategy<Value = PolicyConfig> {
    prop_oneof![
        Just(RoundRobin::default().into()),
        Just(WeightedRoundRobin::default().into()),
        Just(Random::default().into()),
        (0usize..10_000, any::<bool>(), any::<bool>()).prop_map(|(scan, aware, work)| {
            LeastRequest::default()
                .scan_up_to(scan)
                .failure_aware(aware)
                .active_work(work)
                .into()
        }),
        any::<bool>().prop_map(|aware| LeastResponseTime::default().failure_aware(aware).into()),
        (number(0..=64), any::<bool>()).prop_map(|(quantile, aware)| {
            let mut policy = Prequal::default().failure_aware(aware);
            policy.quantile = quantile;
            policy.into()
        }),
        resources(),
        hashes(),
    ]
}

/// Any policy, up to three levels of one within another.
fn any_policy() -> impl Strategy<Value = PolicyConfig> {
    simple().prop_recursive(3, 8, 1, |within| {
        let fallback = prop_oneof![Just(SubsetFallback::Any), Just(SubsetFallback::None)];
        let keys = prop::collection::vec("[a-z]{1,8}", 0..4);
        prop_oneof![
            within
                .clone()
                .prop_map(|within| PriorityTiers::of(within).into()),
            ("\\PC{0,12}", within.clone())
                .prop_map(|(zone, within)| ZoneAware::new(zone, within).into()),
            (keys, fallback, within).prop_map(|(keys, fallback, within)| {
                Subset::by(keys, within).fallback(fallback).into()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What was written is read as the same configuration, and it can be built.
    #[test]
    fn a_policy_survives_its_json_form(policy in any_policy()) {
        let text = serde_json::to_string(&policy).expect("a policy has a JSON form");
        let again: PolicyConfig = serde_json::from_str(&text).expect("what was written is read");
        prop_assert_eq!(format!("{policy:?}"), format!("{again:?}"));
        prop_assert_eq!(policy.name(), again.name());
        prop_assert!(again.check().is_ok(), "{}", text);
    }
}

#[test]
fn what_is_left_out_keeps_its_default() {
    for (text, policy) in [
        (
            r#"{"policy":"least_request"}"#,
            LeastRequest::default().into(),
        ),
        (
            r#"{"policy":"resource_based"}"#,
            ResourceBased::default().into(),
        ),
        (r#"{"policy":"prequal"}"#, Prequal::default().into()),
        (
            r#"{"policy":"consistent_hash"}"#,
            ConsistentHash::maglev().into(),
        ),
        (
            r#"{"policy":"round_robin"}"#,
            PolicyConfig::from(RoundRobin::default()),
        ),
    ] {
        let read: PolicyConfig = serde_json::from_str(text).expect("a short form");
        assert_eq!(format!("{read:?}"), format!("{policy:?}"));
    }
}

#[test]
fn what_is_misspelt_or_out_of_range_is_refused() {
    for text in [
        r#"{"policy":"fastest"}"#,
        r#"{"policy":"least_request","scan_upto":3}"#,
        r#"{"policy":"least_request","scan_up_to":-3}"#,
        r#"{"policy":"consistent_hash","algorithm":{"kind":"ring"}}"#,
        r#"{"policy":"zone_aware","zone":"a","within":{"policy":"nobody"}}"#,
        r#"{}"#,
    ] {
        assert!(
            serde_json::from_str::<PolicyConfig>(text).is_err(),
            "{text}"
        );
    }
    for text in [
        r#"{"policy":"prequal","quantile":1.5}"#,
        r#"{"policy":"resource_based","gpu":-1.0}"#,
        r#"{"policy":"consistent_hash","bound":0.5}"#,
        r#"{"policy":"consistent_hash","algorithm":{"kind":"maglev","table_size":100}}"#,
    ] {
        let read: PolicyConfig = serde_json::from_str(text).expect("well formed");
        assert!(read.check().is_err(), "{text}");
    }
}
