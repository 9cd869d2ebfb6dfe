use serde::{Deserialize, Serialize};

use crate::decision::{Stage, Trace};
use crate::inputs::{Inputs, PodSample, Reading, SampleValue};
use crate::spec::Spec;

/// Up when any reading is high, down when all readings are low. It proposes all
/// or nothing; the behavior block's policies and windows set the pace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// One of these above its level asks for more.
    pub up: Vec<Level>,
    /// All of these below their levels ask for less.
    pub down: Vec<Level>,
}

/// One reading and the level it is held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The id of the observation in the inputs; it need not be a metric of the spec.
    pub metric: String,
    /// The level, in the metric's unit.
    pub level: f64,
    /// Divide the reading by the number of replicas first. Default: no.
    #[serde(default)]
    pub per_instance: bool,
}

impl Level {
    /// The mean of what pods report, or the sum of plain values.
    pub fn of(metric: impl Into<String>, level: f64) -> Self {
        Self {
            metric: metric.into(),
            level,
            per_instance: false,
        }
    }

    /// A value for the whole fleet, divided by its replicas.
    pub fn per_instance(metric: impl Into<String>, level: f64) -> Self {
        Self {
            metric: metric.into(),
            level,
            per_instance: true,
        }
    }

    fn read(&self, inputs: &Inputs) -> Option<f64> {
        let value = match &inputs.metrics.get(&self.metric)?.reading {
            Reading::Values(values) if !values.is_empty() => {
                values.iter().map(|value| value.as_f64()).sum::<f64>()
            }
            Reading::Pods(samples) => mean(samples.iter().filter_map(sample))?,
            Reading::Values(_) | Reading::Failed(_) => return None,
        };
        let share = if self.per_instance {
            f64::from(inputs.current.max(1))
        } else {
            1.0
        };
        Some(value / share)
    }
}

/// `None` for a pod with a container that reported nothing.
fn sample(sample: &PodSample) -> Option<f64> {
    match &sample.value {
        SampleValue::Pod(value) => Some(value.as_f64()),
        SampleValue::Containers(values) => values
            .iter()
            .map(|(_, value)| value.map(crate::Quantity::as_f64))
            .sum(),
    }
}

/// `None` of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// What the thresholds ask for: everything, nothing, or the count as it is.
/// A reading that is unknown never counts as low.
pub(crate) fn propose(spec: &Spec, inputs: &Inputs, trace: &mut Trace) -> Option<u32> {
    let rules = spec.policies().thresholds.as_ref()?;
    let high = rules
        .up
        .iter()
        .find(|level| level.read(inputs).is_some_and(|value| value > level.level));
    let low = !rules.down.is_empty()
        && rules
            .down
            .iter()
            .all(|level| level.read(inputs).is_some_and(|value| value < level.level));
    let current = inputs.current;
    let (replicas, reason) = match high {
        Some(level) => (spec.max_replicas(), format!("{} is high", level.metric)),
        None if low => (spec.min_replicas(), "all readings are low".into()),
        None => (current, "no reading is out of its range".into()),
    };
    trace.step(
        Stage::Metric,
        "thresholds",
        (current, replicas),
        reason,
        &[],
    );
    Some(replicas)
}
