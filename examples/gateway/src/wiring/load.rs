//! Ledger -> autoscaler: how many simulations are under way, and how many one instance should have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb_autoscale::inputs::Observation;
use lb_autoscale::source::{self, MetricSource};
use lb_autoscale::spec::{Metric, Policy, ScalingRules, SelectPolicy, Spec, SpecError};

use crate::ledger::Ledger;

/// The one metric.
const ACTIVE: &str = "active_simulations";

/// Three to five instances for two active simulations each. Grows by half but by two at a time at
/// most; shrinks by two at a time once the load has been low for six seconds (a demonstration's
/// patience; in production this is minutes).
///
/// # Errors
///
/// Never; the autoscaler checks every specification.
pub fn spec() -> Result<Spec, SpecError> {
    let period = Duration::from_secs(5);
    let grow = ScalingRules::default()
        .policy(Policy::percent(50, period))
        .policy(Policy::pods(2, period))
        .select(SelectPolicy::Min);
    let shrink = ScalingRules::default()
        .policy(Policy::pods(2, Duration::from_secs(15)))
        .stabilization_window(Duration::from_secs(6));
    Spec::builder("simulation")
        .replicas(3..=5)
        .metric(Metric::external(ACTIVE).average_value(2.0))
        .scale_up(grow)
        .scale_down(shrink)
        .build()
}

/// Reads the ledger at every decision.
pub fn source(ledger: Arc<dyn Ledger>) -> impl MetricSource + 'static {
    source::from_fn(move |_fleet| {
        let active = ledger.active() as f64;
        async move { BTreeMap::from([(ACTIVE.to_owned(), Observation::value(active))]) }
    })
}

#[cfg(test)]
mod tests {
    use lb_autoscale::source::Fleet;
    use lb_autoscale::{Inputs, State, UnixMillis, decide};

    use super::*;
    use crate::ledger::MemoryLedger;

    async fn desired(jobs: usize) -> u32 {
        let ledger = Arc::new(MemoryLedger::default());
        for number in 0..jobs {
            ledger
                .submit(format!("j{number}").parse().unwrap(), "{}".into())
                .await
                .unwrap();
        }
        let spec = spec().unwrap();
        let mut inputs = Inputs::new(3);
        inputs.metrics = source(ledger).observe(&spec, &Fleet::default()).await;
        decide(
            &spec,
            &mut State::default(),
            &inputs,
            UnixMillis::from_secs(0),
        )
        .desired
    }

    #[tokio::test]
    async fn two_jobs_per_instance_are_enough_and_twelve_ask_for_five() {
        assert_eq!(desired(0).await, 3);
        assert_eq!(desired(6).await, 3);
        assert_eq!(desired(12).await, 5);
    }
}
