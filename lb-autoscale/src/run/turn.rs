//! One turn: look, decide, act, remember.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::{Control, Remember};
use crate::actuator::{Actuator, ActuatorError};
use crate::decision::{Condition, Reason};
use crate::inputs::Inputs;
use crate::record::Record;
use crate::source::{Fleet, MetricSource, Observations};
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
        let seen = within(self.deadline, async { self.actuator.observe().await });
        let fleet = match seen.await {
            Ok(fleet) => fleet,
            Err(error) => return self.failed(&spec, &error, Reason::FailedGetScale),
        };
        let observed = answer(self.deadline, async {
            self.source.observe(&spec, &fleet).await
        });
        // Too late counts as nothing reported: every metric fails, nothing shrinks.
        let metrics = observed.await.unwrap_or_else(|why| {
            tracing::warn!(spec = spec.name(), "the source reports nothing: {why}");
            Observations::default()
        });
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
            let applied = within(self.deadline, async {
                self.actuator.apply(&decision).await
            });
            if let Err(error) = applied.await {
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
        if catch_unwind(AssertUnwindSafe(|| (self.remember)(&state))).is_err() {
            tracing::error!(spec = spec.name(), "the store of the state panicked");
        }
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
    let answer = answer(deadline, work).await;
    answer.unwrap_or_else(|why| Err(ActuatorError::Unavailable(why)))
}

/// What `work` comes to under a deadline, or why it came to nothing. What users brought along may
/// panic: that ends this piece of work, and not the loop.
async fn answer<T>(deadline: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(timeout(deadline, work));
    let step = |cx: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| {
        work.as_mut().poll(cx)
    })) {
        Ok(polled) => polled.map(|done| done.map_err(|_| format!("no answer within {deadline:?}"))),
        Err(_) => Poll::Ready(Err("it panicked".to_owned())),
    };
    poll_fn(step).await
}
