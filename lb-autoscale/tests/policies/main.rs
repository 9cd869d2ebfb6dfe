//! Each policy does what it says, and the trace says that it did.

mod zero;

use std::time::Duration;

use lb_autoscale::hpa::{History, Recommendations};
use lb_autoscale::inputs::{Pod, PodSample, Reading, SampleValue};
use lb_autoscale::policy::{Budget, Cooldown, Forecast, Override, OverrideKind, ScaleToZero};
use lb_autoscale::spec::{Fallback, Metric, ScalingRules, SelectPolicy, Spec, SpecBuilder};
use lb_autoscale::{Decision, Inputs, Observation, State, UnixMillis, decide, presets};

fn at(seconds: i64) -> UnixMillis {
    // A Monday, 2026-01-05T00:00:00Z.
    UnixMillis::from_secs(1_767_571_200 + seconds)
}

/// A state that has decided before, so that it may shrink at once.
fn experienced() -> State {
    let recommendations = Some(Recommendations::default());
    State::with_history(History {
        recommendations,
        ..History::default()
    })
}

fn by_load() -> SpecBuilder {
    Spec::builder("policies")
        .replicas(1..=20)
        .metric(Metric::external("load").average_value(10.0))
}

fn load(current: u32, value: f64) -> Inputs {
    Inputs::new(current).observe("load", Observation::value(value))
}

fn one(builder: SpecBuilder, state: &mut State, inputs: &Inputs, now: UnixMillis) -> Decision {
    decide(
        &builder.build().expect("a valid specification"),
        state,
        inputs,
        now,
    )
}

#[test]
fn a_spike_of_one_sample_passes_unless_a_window_asks_for_a_second_one() {
    let calm = |window| {
        by_load()
            .scale_up(ScalingRules::default().stabilization_window(Duration::from_secs(window)))
    };
    for (window, expected) in [(0, 8), (30, 4)] {
        let mut state = State::default();
        for second in [0, 15] {
            let _ = one(calm(window), &mut state, &load(4, 40.0), at(second));
        }
        let spike = one(calm(window), &mut state, &load(4, 400.0), at(30));
        assert_eq!(spike.desired, expected, "{}", spike.why());
    }
}

#[test]
fn a_stale_reading_holds_the_count_and_says_how_old_it_is() {
    let spec = || {
        Spec::builder("stale").replicas(1..=20).metric(
            Metric::external("load")
                .average_value(10.0)
                .stale_after(Duration::from_secs(60)),
        )
    };
    let old =
        |age: i64| Inputs::new(9).observe("load", Observation::value(10.0).at(at(1_000 - age)));
    let fresh = one(spec(), &mut experienced(), &old(60), at(1_000));
    assert_eq!(fresh.desired, 1);
    let stale = one(spec(), &mut experienced(), &old(61), at(1_000));
    assert_eq!(stale.desired, 9);
    assert!(stale.error.is_some_and(|error| error.contains("61 s old")));
}

#[test]
fn a_silent_metric_falls_back_as_it_was_told() {
    let silent = Inputs::new(3);
    let floor = || {
        by_load_with(Fallback::Floor {
            replicas: 7,
            after_seconds: 60,
        })
    };
    let mut state = experienced();
    assert_eq!(one(floor(), &mut state, &silent, at(0)).desired, 3);
    let late = one(floor(), &mut state, &silent, at(60));
    assert_eq!(late.desired, 7);
    assert!(late.why().contains("fallback of load"), "{}", late.why());

    let last_good = || by_load_with(Fallback::LastGood { for_seconds: 120 });
    let mut state = experienced();
    assert_eq!(
        one(last_good(), &mut state, &load(3, 60.0), at(0)).desired,
        6
    );
    assert_eq!(
        one(last_good(), &mut state, &Inputs::new(5), at(120)).desired,
        6
    );
    assert_eq!(
        one(last_good(), &mut state, &Inputs::new(5), at(121)).desired,
        5,
        "too old: held"
    );
}

fn by_load_with(fallback: Fallback) -> SpecBuilder {
    let metric = Metric::external("load")
        .average_value(10.0)
        .fallback(fallback);
    Spec::builder("fallback").replicas(1..=20).metric(metric)
}

#[test]
fn a_fleet_that_is_switched_off_says_so_and_one_that_is_fresh_begins() {
    let mut inputs = load(0, 80.0);
    let off = one(by_load(), &mut State::default(), &inputs, at(0));
    assert_eq!(off.why(), "stays at 0: zero replicas: ScalingDisabled");
    inputs.fresh = true;
    assert!(one(by_load(), &mut State::default(), &inputs, at(0)).changes());
}

#[test]
fn a_clock_that_is_set_back_an_hour_stops_neither_rates_nor_windows_nor_overrides() {
    let spec = || {
        by_load()
            .scale_up(ScalingRules::default())
            .scale_down(ScalingRules::default().stabilization_window(Duration::from_secs(60)))
    };
    let mut state = experienced();
    assert_eq!(
        one(spec(), &mut state, &load(2, 180.0), at(3_600)).desired,
        6
    );
    let set_back = one(spec(), &mut state, &load(6, 180.0), at(1));
    assert_eq!(set_back.desired, 6, "as if no time had passed");
    assert_eq!(set_back.trace[0].reason, "TimeWentBackwards");
    assert_eq!(one(spec(), &mut state, &load(6, 180.0), at(16)).desired, 12);
    assert_eq!(one(spec(), &mut state, &load(12, 60.0), at(31)).desired, 12);
    assert_eq!(one(spec(), &mut state, &load(12, 60.0), at(91)).desired, 6);

    let manual = Override {
        kind: OverrideKind::Exact(9),
        author: "somebody".into(),
        reason: "test".into(),
        expires_at: at(200),
    };
    state.set_override(manual, at(100)).expect("it is valid");
    assert_eq!(one(spec(), &mut state, &load(6, 60.0), at(101)).desired, 9);
    assert_eq!(one(spec(), &mut state, &load(9, 90.0), at(200)).desired, 9);
    assert!(state.current_override().is_none());
}

#[test]
fn a_cooldown_pauses_after_a_change_was_made() {
    let spec = || {
        by_load()
            .cooldown(Cooldown {
                after_up_seconds: 30,
                after_change_seconds: 120,
            })
            .scale_up(ScalingRules::default())
            .scale_down(ScalingRules::default().stabilization_window(Duration::ZERO))
    };
    let mut state = experienced();
    assert_eq!(one(spec(), &mut state, &load(2, 40.0), at(0)).desired, 4);
    assert_eq!(
        one(spec(), &mut state, &load(4, 80.0), at(15)).desired,
        4,
        "grew lately"
    );
    assert_eq!(
        one(spec(), &mut state, &load(4, 10.0), at(60)).desired,
        4,
        "changed lately"
    );
    assert_eq!(one(spec(), &mut state, &load(4, 10.0), at(120)).desired, 1);
}

#[test]
fn both_readings_of_fifty_percent_but_at_most_two_are_there() {
    let hot = |current| {
        Inputs::new(current)
            .observe("cpu", Observation::value(20.0))
            .observe("gpu", Observation::value(81.0))
            .observe("active_simulations", Observation::value(50.0))
    };
    for (select, expected) in [(SelectPolicy::Min, 3), (SelectPolicy::Max, 4)] {
        let decision = one(
            presets::thresholds("t", select),
            &mut experienced(),
            &hot(2),
            at(0),
        );
        assert_eq!(decision.desired, expected, "{}", decision.why());
    }
    let many = one(
        presets::thresholds("t", SelectPolicy::Min),
        &mut experienced(),
        &hot(10),
        at(0),
    );
    assert_eq!(many.desired, 12, "two a minute at most");
}

#[test]
fn thresholds_shrink_only_when_all_is_low_for_fifteen_minutes_and_two_stay_healthy() {
    let quiet = |current: u32, gpu: Observation| {
        Inputs::new(current)
            .observe("cpu", Observation::value(10.0))
            .observe("gpu", gpu)
            .observe("active_simulations", Observation::value(3.0))
            .pods((0..current).map(|n| Pod::ready(format!("p{n}"))))
    };
    let idle = || Observation::value(10.0);
    let spec = || presets::thresholds("t", SelectPolicy::Min);
    let mut state = State::default();
    for minute in 0..15 {
        assert_eq!(
            one(spec(), &mut state, &quiet(8, idle()), at(minute * 60)).desired,
            8
        );
    }
    assert_eq!(
        one(spec(), &mut state, &quiet(8, idle()), at(901)).desired,
        6,
        "a quarter a minute"
    );
    let unknown = one(
        spec(),
        &mut experienced(),
        &quiet(8, Observation::failed("lost")),
        at(0),
    );
    assert_eq!(unknown.desired, 8, "unknown is not low");

    // Six are asked for, but only two of them are healthy: none of those may go.
    let mut sick = quiet(6, idle());
    for pod in &mut sick.pods[2..] {
        pod.ready = Some(false);
    }
    let decision = one(spec(), &mut experienced(), &sick, at(0));
    assert!(
        decision
            .victims
            .iter()
            .all(|victim| victim != "p0" && victim != "p1"),
        "{decision:?}"
    );
    assert!(decision.desired >= 2);
}

#[test]
fn an_override_holds_against_load_until_it_expires_and_a_freeze_freezes() {
    for (kind, expected) in [
        (OverrideKind::Exact(2), 2),
        (OverrideKind::Freeze, 4),
        (OverrideKind::Floor(9), 9),
    ] {
        let mut state = experienced();
        let manual = Override {
            kind,
            author: "kim".into(),
            reason: "test".into(),
            expires_at: at(60),
        };
        state.set_override(manual, at(0)).expect("it is complete");
        let forced = one(by_load(), &mut state, &load(4, 60.0), at(1));
        assert_eq!(forced.desired, expected, "{}", forced.why());
        let after = one(by_load(), &mut state, &load(4, 60.0), at(60));
        assert_eq!(after.desired, 6, "{}", after.why());
    }
}

#[test]
fn a_budget_reports_by_default_and_caps_when_enforced() {
    for (enforce, expected) in [(false, 8), (true, 3)] {
        let budget = Budget {
            price_per_replica_hour: 1.0,
            per_month: 27.0 * 24.0 * 3.0,
            enforce,
        };
        let spec = by_load().policies(|policies| policies.budget = Some(budget));
        let decision = one(spec, &mut experienced(), &load(4, 80.0), at(0));
        assert_eq!(decision.desired, expected, "{}", decision.why());
    }
}

#[test]
fn a_forecast_advises_first_and_acts_when_it_is_told_to() {
    let day = |second: i64| {
        if (second / 3_600) % 24 < 8 {
            20.0
        } else {
            100.0
        }
    };
    for (acting, expected) in [(false, 2), (true, 10)] {
        let forecast = Forecast::daily("load", 10.0).lead(Duration::from_secs(300));
        let forecast = if acting { forecast.acting() } else { forecast };
        let spec = by_load()
            .policies(|policies| policies.forecast = Some(forecast))
            .build()
            .expect("valid");
        let mut state = experienced();
        for step in 0..3 * 288 {
            let second = step * 300;
            let _ = decide(&spec, &mut state, &load(2, day(second)), at(second));
        }
        let eve = at(3 * 86_400 + 8 * 3_600 - 60);
        let _ = decide(
            &spec,
            &mut state,
            &load(2, 20.0),
            at(3 * 86_400 + 8 * 3_600 - 700),
        );
        let decision = decide(&spec, &mut state, &load(2, 20.0), eve);
        assert_eq!(decision.desired, expected, "{}", decision.why());
        assert!(
            decision.trace.iter().any(|step| step.rule == "forecast"),
            "{}",
            decision.why()
        );
    }
}

#[test]
fn a_forecast_looks_ahead_for_as_long_as_instances_take_to_start() {
    let eight = 3 * 86_400 + 8 * 3_600;
    for (start_seconds, expected) in [(5, 2), (1_800, 10)] {
        let forecast = Forecast::daily("load", 10.0).acting();
        let spec = by_load()
            .policies(|policies| policies.forecast = Some(forecast))
            .build()
            .expect("valid");
        let mut state = experienced();
        let mut decision = None;
        for step in 0..(eight - 1_000) / 300 {
            let second = step * 300;
            let demand = if second % 86_400 < 8 * 3_600 {
                20.0
            } else {
                100.0
            };
            let pods = ["a", "b"].map(|name| {
                let mut pod = Pod::ready(name);
                pod.started_at = Some(at(0));
                pod.ready_changed_at = Some(at(start_seconds));
                pod
            });
            let inputs = load(2, demand).pods(pods);
            decision = Some(decide(&spec, &mut state, &inputs, at(second)));
        }
        // Less than half an hour before eight.
        let decision = decision.expect("there were steps");
        assert_eq!(decision.desired, expected, "{}", decision.why());
    }
}

#[cfg(feature = "schedule")]
#[test]
fn a_schedule_yields_to_real_load_and_floors_win_over_ceilings() {
    use lb_autoscale::policy::Schedule;

    let eight_hours = Duration::from_secs(8 * 3_600);
    let office = Schedule::new("office", "0 8 * * MON-FRI", eight_hours).floor(6);
    let thrift = Schedule::new("thrift", "0 0 * * *", Duration::from_secs(86_400)).ceiling(4);
    let spec =
        || by_load().policies(|policies| policies.schedules = vec![office.clone(), thrift.clone()]);
    let nine = 9 * 3_600;
    assert_eq!(
        one(spec(), &mut experienced(), &load(1, 10.0), at(nine)).desired,
        6
    );
    assert_eq!(
        one(spec(), &mut experienced(), &load(4, 80.0), at(nine)).desired,
        6
    );
    assert_eq!(
        one(spec(), &mut experienced(), &load(4, 80.0), at(0)).desired,
        4,
        "night: capped"
    );
    let only_office = by_load().policies(|policies| policies.schedules = vec![office.clone()]);
    assert_eq!(
        one(only_office, &mut experienced(), &load(6, 90.0), at(nine)).desired,
        9
    );
}

#[test]
fn a_forecast_looks_at_what_comes_and_not_at_what_nobody_measured() {
    let forecast = Forecast::daily("load", 10.0).acting();
    let mut profile = lb_autoscale::policy::forecast::Profile::default();
    let day = |second: i64| match (second / 3_600) % 24 {
        8..16 => 100.0,
        _ => 20.0,
    };
    let until = 3 * 86_400 + 6 * 3_600;
    for second in (0..until).step_by(300) {
        forecast.learn(&mut profile, day(second), at(second));
    }
    // The last measurement is of six in the morning, and now it is night again.
    let replicas = |hours: i64| forecast.replicas(&profile, at(until + hours * 3_600));
    assert_eq!((replicas(3), replicas(16)), (Some(10), Some(2)));
}

#[test]
fn a_list_without_a_value_is_unknown_and_not_zero() {
    let nothing = || Observation::from(Reading::Values(Vec::new()));
    let spec = || zero::to_zero(by_load(), &ScaleToZero::on("load"));
    let mut state = experienced();
    for (second, current) in [(0, 4), (400, 4), (800, 1)] {
        let inputs = Inputs::new(current).observe("load", nothing());
        let decision = one(spec(), &mut state, &inputs, at(second));
        assert_eq!(decision.desired, current, "{}", decision.why());
    }
    let silent = SampleValue::Containers([("main".into(), None)].into());
    let silent = PodSample {
        value: silent,
        ..PodSample::new("p0", lb_autoscale::Quantity::default())
    };
    for gpu in [nothing(), Observation::pods(vec![silent])] {
        let inputs = Inputs::new(8)
            .observe("cpu", Observation::value(10.0))
            .observe("gpu", gpu)
            .observe("active_simulations", Observation::value(3.0));
        let thresholds = presets::thresholds("t", SelectPolicy::Min);
        let decision = one(thresholds, &mut experienced(), &inputs, at(0));
        assert_eq!(decision.desired, 8, "{}", decision.why());
    }
}

#[test]
fn the_end_of_time_is_a_time_like_any_other() {
    let budget = Budget {
        price_per_replica_hour: 1.0,
        per_month: 100.0,
        enforce: true,
    };
    let spec = by_load()
        .policies(|policies| policies.budget = Some(budget))
        .build()
        .expect("valid");
    for millis in [i64::MAX, i64::MIN] {
        let now = UnixMillis::from_millis(millis);
        let decision = decide(&spec, &mut State::default(), &load(4, 40.0), now);
        assert!((1..=20).contains(&decision.desired), "{}", decision.why());
    }
}
