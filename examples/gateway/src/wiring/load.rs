//! Ledger and GPUs -> autoscaler: how many simulations are under way, how busy the GPUs are, and how
//! much of both one instance should have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lb_autoscale::inputs::Observation;
use lb_autoscale::source::{self, MetricSource};
use lb_autoscale::spec::{Metric, Policy, ScalingRules, SelectPolicy, Spec, SpecError};

use crate::ledger::Ledger;

const ACTIVE: &str = "active_simulations";
const GPU: &str = "gpu_busy";
/// Share of their time that GPUs should be busy, on average.
const GPU_TARGET: f64 = 0.75;

/// Three to five instances for two active simulations each and, where there are GPUs, for three
/// quarters of their time. Grows by half but by two at a time at
/// most; shrinks by two at a time once the load has been low for six seconds (a demonstration's
/// patience; in production this is minutes).
///
/// # Errors
///
/// Never; the autoscaler checks every specification.
pub fn spec(gpus: bool) -> Result<Spec, SpecError> {
    let period = Duration::from_secs(5);
    let grow = ScalingRules::default()
        .policy(Policy::percent(50, period))
        .policy(Policy::pods(2, period))
        .select(SelectPolicy::Min);
    let shrink = ScalingRules::default()
        .policy(Policy::pods(2, Duration::from_secs(15)))
        .stabilization_window(Duration::from_secs(6));
    let spec = Spec::builder("simulation")
        .replicas(3..=5)
        .metric(Metric::external(ACTIVE).average_value(2.0))
        .scale_up(grow)
        .scale_down(shrink);
    // A metric that nobody can ever read would keep the fleet from shrinking.
    let busy = Metric::external(GPU).value(GPU_TARGET);
    if gpus { spec.metric(busy) } else { spec }.build()
}

/// Reads the ledger and the GPUs at every decision. `busy` knows nothing where there is no GPU.
pub fn source(
    ledger: Arc<dyn Ledger>,
    busy: impl Fn() -> Option<f64> + Send + Sync + 'static,
) -> impl MetricSource + 'static {
    source::from_fn(move |_fleet| {
        let active = Observation::value(ledger.active() as f64);
        let busy = busy().map(|share| (GPU.to_owned(), Observation::value(share)));
        let active = (ACTIVE.to_owned(), active);
        async move { BTreeMap::from_iter([active].into_iter().chain(busy)) }
    })
}

#[cfg(test)]
mod tests {
    use lb_autoscale::inputs::Pod;
    use lb_autoscale::source::Fleet;
    use lb_autoscale::{Inputs, State, UnixMillis, decide};

    use super::*;
    use crate::ledger::MemoryLedger;

    async fn desired(jobs: usize, busy: Option<f64>) -> u32 {
        let ledger = Arc::new(MemoryLedger::default());
        for number in 0..jobs {
            ledger
                .submit(format!("j{number}").parse().unwrap(), "{}".into())
                .await
                .unwrap();
        }
        let spec = spec(busy.is_some()).unwrap();
        let pods = ["a", "b", "c"].map(Pod::ready);
        let mut inputs = Inputs::new(3).pods(pods);
        let mut source = source(ledger, move || busy);
        inputs.metrics = source.observe(&spec, &Fleet::default()).await;
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
        assert_eq!(desired(0, None).await, 3);
        assert_eq!(desired(6, None).await, 3);
        assert_eq!(desired(12, None).await, 5);
    }

    #[tokio::test]
    async fn busy_gpus_ask_for_more_instances_though_there_are_no_more_jobs() {
        assert_eq!(desired(3, Some(0.5)).await, 3);
        assert_eq!(desired(3, Some(0.95)).await, 4);
    }
}
