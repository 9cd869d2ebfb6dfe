//! Ready specifications for common wishes.
//!
//! Each returns a builder, so that bounds, metrics and rules can be changed
//! before [`build`](crate::spec::SpecBuilder::build).
//!
//! ```
//! use lb_autoscale::presets;
//! use lb_autoscale::spec::SelectPolicy;
//!
//! let spec = presets::thresholds("simulation", SelectPolicy::Min).replicas(2..=12).build()?;
//! assert!(spec.policies().thresholds.is_some());
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

use std::time::Duration;

use crate::policy::{Burst, Cooldown, Level, Thresholds};
use crate::spec::{Metric, Policy, ScalingRules, SelectPolicy, Spec, SpecBuilder};

const MINUTE: Duration = Duration::from_secs(60);

/// Follows demand instead of utilization: arrivals plus what waits, per
/// replica. Utilization saturates at 100 % and so hides how much is missing;
/// demand does not. A burst is followed at once; shrinking waits five minutes
/// and happens at most every two, so that noise makes no churn.
///
/// `metric` must report the demand in units of `per_replica`: for example the
/// arrivals per second over the last 15 seconds, plus what waits divided by the
/// 300 seconds it may take to work it off (less, and instances that are about
/// to start would be asked for again). Decide every 10 seconds.
pub fn demand(name: impl Into<String>, metric: impl Into<String>, per_replica: f64) -> SpecBuilder {
    Spec::builder(name)
        .metric(Metric::external(metric).average_value(per_replica))
        .scale_up(ScalingRules::default().tolerance(0.1))
        .scale_down(
            ScalingRules::default()
                .stabilization_window(Duration::from_secs(300))
                .policy(Policy::percent(100, MINUTE))
                .tolerance(0.15),
        )
        .burst(Burst {
            threshold: 1.25,
            hold_seconds: 60,
        })
        .cooldown(Cooldown {
            after_up_seconds: 0,
            after_change_seconds: 120,
        })
}

/// The simulation platform's rules: 3 to 20 instances; CPU 70 %, memory 80 %,
/// GPU 75 %, 8 active simulations per instance; up 50 % but at most 2 a minute,
/// down 25 % after 15 minutes. Observations: `cpu` and `memory` of pods, `gpu`
/// (mean percent over the fleet) of pods, `active_simulations` in all.
pub fn simulation_platform(name: impl Into<String>) -> SpecBuilder {
    paced(Spec::builder(name), SelectPolicy::Min)
        .replicas(3..=20)
        .metric(Metric::resource("cpu").utilization(70))
        .metric(Metric::resource("memory").utilization(80))
        .metric(Metric::pods("gpu").average_value(75.0))
        .metric(Metric::external("active_simulations").average_value(8.0))
}

/// Up when average CPU or GPU is above 80 %; down when both are below 30 % and
/// fewer than 2 simulations are active per instance, for 15 minutes; never
/// below 2 healthy instances.
///
/// "Up 50 % but at most 2 a minute" can be read both ways: `SelectPolicy::Min`
/// takes the smaller of the two (a fleet of 2 grows by 1), `SelectPolicy::Max`
/// the larger. Observations: `cpu`, `gpu` (percent), `active_simulations` in all.
pub fn thresholds(name: impl Into<String>, growth: SelectPolicy) -> SpecBuilder {
    let rules = Thresholds {
        up: vec![Level::of("cpu", 80.0), Level::of("gpu", 80.0)],
        down: vec![
            Level::of("cpu", 30.0),
            Level::of("gpu", 30.0),
            Level::per_instance("active_simulations", 2.0),
        ],
    };
    paced(Spec::builder(name), growth)
        .replicas(2..=20)
        .min_healthy(2)
        .policies(|policies| policies.thresholds = Some(rules))
}

/// Up 50 % and 2 pods a minute, down 25 % a minute after 15 minutes.
fn paced(builder: SpecBuilder, growth: SelectPolicy) -> SpecBuilder {
    builder
        .scale_up(
            ScalingRules::default()
                .policy(Policy::percent(50, MINUTE))
                .policy(Policy::pods(2, MINUTE))
                .select(growth),
        )
        .scale_down(
            ScalingRules::default()
                .policy(Policy::percent(25, MINUTE))
                .stabilization_window(Duration::from_secs(900)),
        )
}
