//! Laws that hold for every specification, fleet and load.

use std::time::Duration;

use lb_autoscale::hpa::History;
use lb_autoscale::inputs::{Container, Observation, Phase, Pod, PodSample};
use lb_autoscale::policy::{Budget, Burst, Cooldown, Forecast, Override, OverrideKind};
use lb_autoscale::record::Record;
use lb_autoscale::spec::{Metric, Policy, ScalingRules, SelectPolicy, Spec, SpecBuilder};
use lb_autoscale::{Decision, Inputs, Quantity, State, UnixMillis, decide};
use proptest::prelude::*;

fn select() -> impl Strategy<Value = SelectPolicy> {
    prop_oneof![
        Just(SelectPolicy::Max),
        Just(SelectPolicy::Min),
        Just(SelectPolicy::Disabled)
    ]
}

fn rules() -> impl Strategy<Value = ScalingRules> {
    (select(), 0..600_u64, 1..20_u32, 1..150_u32, 1..300_u64).prop_map(
        |(select, window, pods, percent, period)| {
            let period = Duration::from_secs(period);
            ScalingRules::default()
                .select(select)
                .stabilization_window(Duration::from_secs(window))
                .policy(Policy::pods(pods, period))
                .policy(Policy::percent(percent, period))
        },
    )
}

fn builder() -> impl Strategy<Value = SpecBuilder> {
    let rules = (
        proptest::option::of((rules(), rules())),
        any::<bool>(),
        any::<bool>(),
    );
    (0..20_u32, 1..60_u32, 0..50_u32, rules).prop_map(
        |(min, more, tolerance, (behavior, burst, cooldown))| {
            let mut spec = Spec::builder("law")
                .replicas(min..=min + more)
                .metric(Metric::external("load").average_value(10.0))
                .tolerance(f64::from(tolerance) / 100.0);
            if let Some((up, down)) = behavior {
                spec = spec.scale_up(up).scale_down(down);
            }
            if burst {
                spec = spec.burst(Burst::default());
            }
            if cooldown {
                spec = spec.cooldown(Cooldown {
                    after_up_seconds: 20,
                    after_change_seconds: 90,
                });
            }
            spec
        },
    )
}

/// Loads over time; `None` is a reading that failed.
fn loads() -> impl Strategy<Value = Vec<(u64, Option<f64>)>> {
    proptest::collection::vec(
        (
            0..120_u64,
            proptest::option::weighted(0.9, 0.0..1_000.0_f64),
        ),
        1..40,
    )
}

fn at(seconds: u64) -> UnixMillis {
    UnixMillis::from_secs(1_000_000) + Duration::from_secs(seconds)
}

fn inputs(current: u32, load: Option<f64>) -> Inputs {
    let seen = load.map_or_else(|| Observation::failed("law"), Observation::value);
    Inputs::new(current).observe("load", seen)
}

/// Every load in turn; each decision is carried out.
fn play(spec: &Spec, state: &mut State, start: u32, loads: &[(u64, Option<f64>)]) -> Vec<Decision> {
    let (mut current, mut clock) = (start, 0);
    loads
        .iter()
        .map(|(pause, load)| {
            clock += pause;
            let decision = decide(spec, state, &inputs(current, *load), at(clock));
            current = decision.desired;
            decision
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bounds_hold_whatever_happens(spec in builder(), start in 0..100_u32, loads in loads()) {
        let spec = spec.build().unwrap();
        for decision in play(&spec, &mut State::default(), start, &loads) {
            let off = decision.current == 0 && spec.min_replicas() > 0;
            let range = spec.min_replicas()..=spec.max_replicas();
            prop_assert!(off || range.contains(&decision.desired), "{}", decision.why());
        }
    }

    #[test]
    fn a_stored_history_replays_bit_for_bit(spec in builder(), start in 1..50_u32, loads in loads(), cut in 0..40_usize) {
        let spec = spec.build().unwrap();
        let whole = play(&spec, &mut State::default(), start, &loads);

        let cut = cut.min(loads.len() - 1);
        let mut state = State::default();
        let first = play(&spec, &mut state, start, &loads[..cut]);
        let stored = serde_json::to_string(&state).unwrap();
        let mut state: State = serde_json::from_str(&stored).unwrap();
        let (mut current, mut clock) = (
            first.last().map_or(start, |decision| decision.desired),
            loads[..cut].iter().map(|(pause, _)| pause).sum::<u64>(),
        );
        for ((pause, load), expected) in loads[cut..].iter().zip(&whole[cut..]) {
            clock += pause;
            let decision = decide(&spec, &mut state, &inputs(current, *load), at(clock));
            prop_assert_eq!(&decision, expected);
            current = decision.desired;
        }
    }

    #[test]
    fn what_forecasts_and_budgets_have_learned_survives_being_stored(loads in loads(), price in 0.001..10.0_f64) {
        let budget = Budget { price_per_replica_hour: price, per_month: 1_000.0, enforce: true };
        let forecast = Forecast { season_seconds: 60, slots: 6, ..Forecast::daily("load", 10.0) }.acting();
        let spec = Spec::builder("law")
            .replicas(1..=60)
            .metric(Metric::external("load").average_value(10.0))
            .policies(|policies| (policies.budget, policies.forecast) = (Some(budget), Some(forecast)))
            .build()
            .unwrap();
        let (mut state, mut current, mut clock) = (State::default(), 5, 0);
        for (pause, load) in loads {
            clock += pause;
            let record = Record::decide(&spec, &mut state, inputs(current, load), at(clock));
            let stored = serde_json::to_string(&record).unwrap();
            let read: Record = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(&read, &record);
            prop_assert_eq!(read.replay(), record.decision.clone());
            current = record.decision.desired;
        }
    }

    #[test]
    fn more_load_never_asks_for_fewer(spec in builder(), current in 1..60_u32, low in 0.0..500.0_f64, more in 0.0..500.0_f64) {
        let spec = spec.build().unwrap();
        let fresh = State::with_history(History { recommendations: Some(Default::default()), ..Default::default() });
        let desired = |load| decide(&spec, &mut fresh.clone(), &inputs(current, Some(load)), at(0)).desired;
        let (less, more) = (desired(low), desired(low + more));
        prop_assert!(less <= more, "{} > {}", less, more);
    }

    #[test]
    fn never_against_the_proposals_direction(spec in builder(), start in 1..60_u32, loads in loads()) {
        let spec = spec.build().unwrap();
        for decision in play(&spec, &mut State::default(), start, &loads) {
            let (current, desired) = (decision.current, decision.desired);
            let within = (spec.min_replicas()..=spec.max_replicas()).contains(&current);
            if let (true, Some(Some(proposed))) = (within, decision.metrics.first().map(|metric| metric.replicas)) {
                prop_assert!(!(proposed >= current && desired < current), "{}", decision.why());
                // Without a behavior block Kubernetes takes the highest proposal of the
                // window as it is, so an old one that a limit had held back may still raise.
                let opposite = proposed <= current && desired > current;
                prop_assert!(!opposite || spec.behavior().is_none(), "{}", decision.why());
            }
        }
    }

    #[test]
    fn at_rest_nothing_moves(spec in builder(), load in 0.0..600.0_f64) {
        let spec = spec.build().unwrap();
        let steady: Vec<_> = (0..200).map(|_| (600, Some(load))).collect();
        let decisions = play(&spec, &mut State::default(), spec.max_replicas(), &steady);
        let last = &decisions[150..];
        prop_assert!(last.iter().all(|decision| !decision.changes()), "{}", last[0].why());
    }

    #[test]
    fn missing_data_never_shrinks(spec in builder(), start in 1..60_u32, loads in loads()) {
        let spec = spec.build().unwrap();
        for decision in play(&spec, &mut State::default(), start, &loads) {
            let within = decision.current <= spec.max_replicas();
            if within && decision.error.is_some() {
                prop_assert!(decision.desired >= decision.current, "{}", decision.why());
            }
        }
    }

    #[test]
    fn pods_that_report_nothing_never_shrink_more_than_all_reporting_idle(
        pods in 2..40_u32, silent in 0..40_u32, used in 0..1_500_i64,
    ) {
        let spec = Spec::builder("law").replicas(1..=100).metric(Metric::resource("cpu").utilization(50)).build().unwrap();
        let desired = |reporting: u32| {
            let pod = |n: u32| Pod::ready(format!("p{n}")).containers([Container::cpu("main", Quantity::from_units(1))]);
            let samples = (0..reporting).map(|n| PodSample::new(format!("p{n}"), Quantity::from_milli(used))).collect();
            let inputs = Inputs::new(pods).pods((0..pods).map(pod)).observe("cpu", Observation::pods(samples));
            let mut state = State::with_history(History { recommendations: Some(Default::default()), ..Default::default() });
            decide(&spec, &mut state, &inputs, at(0)).desired
        };
        let (all, some) = (desired(pods), desired(pods - silent.min(pods - 1)));
        if all < pods {
            prop_assert!(some >= all, "{} pods: {} with all, {} with some", pods, all, some);
        } else {
            prop_assert!(some <= all, "{} pods: {} with all, {} with some", pods, all, some);
        }
    }

    #[test]
    fn overrides_always_expire(spec in builder(), count in 0..100_u32, seconds in 1..2_592_000_u64, load in 0.0..500.0_f64) {
        let spec = spec.build().unwrap();
        let manual = Override {
            kind: OverrideKind::Exact(count),
            author: "law".into(),
            reason: "test".into(),
            expires_at: at(seconds),
        };
        let mut with = State::default();
        with.set_override(manual.clone(), at(0)).unwrap();
        let current = spec.min_replicas().max(1);
        let forced = decide(&spec, &mut with, &inputs(current, Some(load)), at(0));
        prop_assert_eq!(forced.desired, count.clamp(spec.min_replicas(), spec.max_replicas()));

        let _ = decide(&spec, &mut with, &inputs(current, Some(load)), at(seconds));
        prop_assert!(with.current_override().is_none());
        prop_assert!(State::default().set_override(manual, at(seconds)).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_changes_nothing_then_and_later(
        spec in builder(), before in loads(), after in loads(), back in 1..10_000_u64,
    ) {
        let spec = spec.build().unwrap();
        let current = spec.min_replicas().max(1);
        let play = |state: &mut State, current: u32, loads: &[(u64, Option<f64>)], start: u64| {
            let (mut current, mut clock) = (current, start);
            let desired = loads.iter().map(|(pause, load)| {
                clock += pause;
                current = decide(&spec, state, &inputs(current, *load), at(clock)).desired;
                current
            });
            (desired.collect::<Vec<u32>>(), clock)
        };
        let mut state = State::default();
        let (first, end) = play(&mut state, current, &before, 20_000);
        let current = first.last().copied().unwrap_or(current);
        let mut twin = state.clone();
        let now = (current, Some(1.0));
        let straight = decide(&spec, &mut state, &inputs(now.0, now.1), at(end));
        let set_back = decide(&spec, &mut twin, &inputs(now.0, now.1), at(end - back));
        prop_assert_eq!(straight.desired, set_back.desired);
        prop_assert_eq!(set_back.at, at(end - back));
        let (straight, _) = play(&mut state, straight.desired, &after, end);
        let (set_back, _) = play(&mut twin, set_back.desired, &after, end - back);
        prop_assert_eq!(straight, set_back);
    }
}

#[test]
fn victims_are_as_many_as_leave_and_never_the_busy_ones_first() {
    let spec = Spec::builder("law")
        .replicas(1..=10)
        .metric(Metric::external("load").average_value(10.0))
        .build()
        .unwrap();
    let mut state = State::with_history(History {
        recommendations: Some(Default::default()),
        ..Default::default()
    });
    let pods = (0..6).map(|n| {
        Pod::ready(format!("p{n}"))
            .active_work(6 - n)
            .phase(Phase::Running)
    });
    let decision = decide(&spec, &mut state, &inputs(6, Some(31.0)).pods(pods), at(0));
    assert_eq!(decision.victims, ["p5", "p4"]);
}
