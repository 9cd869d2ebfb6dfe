//! Scaling to zero and back.

use std::time::Duration;

use lb_autoscale::policy::ScaleToZero;
use lb_autoscale::spec::{Fallback, Metric, ScalingRules, Spec, SpecBuilder};
use lb_autoscale::{Inputs, Observation, Quantity};

use super::{at, by_load, experienced, load, one};

/// With that rule, and no window that would delay it.
pub(crate) fn to_zero(builder: SpecBuilder, rule: &ScaleToZero) -> SpecBuilder {
    builder
        .replicas(0..=20)
        .policies(|policies| policies.scale_to_zero = Some(rule.clone()))
        .scale_down(ScalingRules::default().stabilization_window(Duration::ZERO))
}

#[test]
fn zero_needs_idleness_and_leaving_it_needs_real_demand() {
    let mut rule = ScaleToZero::on("load");
    rule.activation = Quantity::from_units(5);
    rule.idle_seconds = 60;
    let spec = || to_zero(by_load(), &rule);
    let mut state = experienced();
    assert_eq!(
        one(spec(), &mut state, &load(2, 0.0), at(0)).desired,
        1,
        "not idle long enough"
    );
    assert_eq!(one(spec(), &mut state, &load(1, 0.0), at(60)).desired, 0);
    assert_eq!(
        one(spec(), &mut state, &load(0, 4.0), at(75)).desired,
        0,
        "below activation"
    );
    assert_eq!(one(spec(), &mut state, &load(0, 6.0), at(90)).desired, 1);
    let mut waiting = load(0, 0.0);
    waiting.wake = true;
    assert_eq!(
        one(spec(), &mut state, &waiting, at(105)).desired,
        1,
        "somebody waits"
    );
    assert_eq!(
        one(spec(), &mut state, &Inputs::new(1), at(400)).desired,
        1,
        "unknown is not idle"
    );
}

#[test]
fn idle_is_only_what_was_seen_idle_without_a_gap() {
    let mut rule = ScaleToZero::on("load");
    rule.idle_seconds = 60;
    let spec = || to_zero(by_load(), &rule);
    let mut state = experienced();
    assert_eq!(one(spec(), &mut state, &load(1, 0.0), at(0)).desired, 1);
    let silent = one(spec(), &mut state, &Inputs::new(1), at(30));
    assert_eq!(silent.desired, 1);
    let seen_again = one(spec(), &mut state, &load(1, 0.0), at(61));
    assert_eq!(seen_again.desired, 1, "{}", seen_again.why());
    assert_eq!(one(spec(), &mut state, &load(1, 0.0), at(121)).desired, 0);
}

#[test]
fn a_stale_zero_puts_nobody_to_sleep_even_if_its_last_good_wish_counts() {
    let mut rule = ScaleToZero::on("load");
    rule.idle_seconds = 60;
    let metric = Metric::external("load")
        .average_value(10.0)
        .stale_after(Duration::from_secs(30))
        .fallback(Fallback::LastGood { for_seconds: 600 });
    let spec = || to_zero(Spec::builder("stale").metric(metric.clone()), &rule);
    let seen_at = |seconds| Inputs::new(1).observe("load", Observation::value(0.0).at(at(seconds)));
    let mut state = experienced();
    assert_eq!(one(spec(), &mut state, &seen_at(0), at(0)).desired, 1);
    let stale = one(spec(), &mut state, &seen_at(0), at(60));
    assert_eq!(stale.desired, 1, "{}", stale.why());
}
