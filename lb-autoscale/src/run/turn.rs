//! One turn: look, decide, act, remember.

use std::time::Duration;

use tokio::time::timeout;

use super::{Control, Remember};
use crate::actuator::{Actuator, ActuatorError};
use crate::decision::{Condition, Reason};
use crate::inputs::Inputs;
use crate::record::Record;
use crate::source::{Fleet, MetricSource};
use crate::{Spec, observe};

/// The part that works; it owns source and actuator.
pub(super) struct Loop<S, A> {
    pub(super) source: S,
    pub(super) actuator: A,
    pub(super) control: Control,
    pub(super) deadline: Duration,
    pub(super) remember: Remember,
}

impl<S: MetricSource, A: Actuator> Loop<S, A> {
    pub(super) async fn turn(&mut self) {
        let spec = self.control.lock().spec.clone();
        let fleet = match within(self.deadline, self.actuator.observe()).await {
            Ok(fleet) => fleet,
            Err(error) => return self.failed(&spec, &error, Reason::FailedGetScale),
        };
        // Too late counts as nothing reported: every metric fails, nothing shrinks.
        let observed = timeout(self.deadline, self.source.observe(&spec, &fleet));
        let metrics = observed.await.unwrap_or_default();
        let (mut state, wake) = {
            let mut core = self.control.lock();
            core.obey();
            (core.state.clone(), std::mem::take(&mut core.wake))
        };
        let Fleet {
            replicas,
            status_replicas,
            pods,
            fresh,
        } = fleet;
        let inputs = Inputs {
            current: replicas,
            status_replicas,
            pods,
            metrics,
            wake,
            fresh,
        };
        let record = Record::decide(&spec, &mut state, inputs, (self.control.clock)());
        let mut decision = record.decision.clone();
        observe::decided(spec.name(), &decision);
        if decision.changes() {
            tracing::info!(spec = spec.name(), "{}", decision.why());
            if let Err(error) = within(self.deadline, self.actuator.apply(&decision)).await {
                // The change did not happen, so no rate limit and no cooldown may count it, and whoever waits still does.
                state.undo_change(record.state.clone());
                self.control.lock().wake |= wake;
                decision.conditions.able_to_scale =
                    Condition::new(false, Reason::FailedUpdateScale);
                self.failed(&spec, &error, Reason::FailedUpdateScale);
            } else {
                observe::changed(spec.name(), &decision);
                self.worked();
            }
        } else {
            self.worked();
        }
        (self.remember)(&state);
        self.control.lock().finish(state, record, decision);
    }

    fn worked(&self) {
        let mut core = self.control.lock();
        (core.error, core.failures_in_a_row) = (None, 0);
    }

    fn failed(&self, spec: &Spec, error: &ActuatorError, reason: Reason) {
        tracing::warn!(spec = spec.name(), %reason, "{error}");
        observe::actuator_failed(spec.name());
        let mut core = self.control.lock();
        core.error = Some(format!("{reason}: {error}"));
        core.failures_in_a_row = core.failures_in_a_row.saturating_add(1);
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, ActuatorError>>,
) -> Result<T, ActuatorError> {
    let late = || ActuatorError::Unavailable(format!("no answer within {deadline:?}"));
    timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(late()))
}
