use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;
use crate::hpa::reconcile::fresh;
use crate::inputs::{Inputs, Reading};
use crate::quantity::Quantity;
use crate::spec::Spec;

/// When a fleet may go to zero and when it comes back. Needs a minimum of 0.
///
/// The activation threshold is not the target: eight jobs per instance may be
/// the target while one single job is reason enough to wake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleToZero {
    /// Id of the metric that shows demand.
    pub metric: String,
    /// Demand above this wakes the fleet and keeps it awake. Default: 0.
    #[serde(default)]
    pub activation: Quantity,
    /// How long demand must be known not to exceed it before the last instance goes; a reading that fails or is stale
    /// begins this anew. Default: 300.
    #[serde(default = "five_minutes")]
    pub idle_seconds: u32,
}

fn five_minutes() -> u32 {
    300
}

impl ScaleToZero {
    /// By the metric's id; any demand wakes, 300 s without put to sleep.
    pub fn on(metric: impl Into<String>) -> Self {
        Self {
            metric: metric.into(),
            activation: Quantity::default(),
            idle_seconds: five_minutes(),
        }
    }

    pub(super) fn bound(
        &self,
        idle_since: &mut Option<UnixMillis>,
        spec: &Spec,
        inputs: &Inputs,
        now: UnixMillis,
    ) -> Option<Bound> {
        if inputs.wake {
            *idle_since = None;
            return Some(Bound::floor("wake", 1, "SomebodyWaits"));
        }
        let Some(demand) = self.demand(spec, inputs, now) else {
            // Unknown demand neither wakes nor puts to sleep, now or later.
            *idle_since = None;
            return (inputs.current > 0).then(|| Bound::floor("zero", 1, "DemandUnknown"));
        };
        if demand > self.activation {
            *idle_since = None;
            return Some(Bound::floor("zero", 1, "Active"));
        }
        let since = *idle_since.get_or_insert(now);
        if inputs.current == 0 {
            return Some(Bound::ceiling("zero", 0, "BelowActivation"));
        }
        let idle = now.age_of(since);
        (idle < i64::from(self.idle_seconds) * 1_000)
            .then(|| Bound::floor("zero", 1, "NotIdleLongEnough"))
    }

    /// `None` while nobody knows: nothing was read, or it is older than its metric allows.
    fn demand(&self, spec: &Spec, inputs: &Inputs, now: UnixMillis) -> Option<Quantity> {
        let seen = inputs.metrics.get(&self.metric)?;
        let metric = spec.metrics().iter().find(|one| one.id == self.metric);
        if metric.is_some_and(|metric| fresh(metric, seen, now).is_err()) {
            return None;
        }
        match &seen.reading {
            Reading::Values(values) => values.iter().copied().reduce(Quantity::saturating_add),
            Reading::Pods(_) | Reading::Failed(_) => None,
        }
    }
}
