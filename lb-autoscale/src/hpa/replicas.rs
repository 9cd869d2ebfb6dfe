//! How many replicas one metric asks for.

use crate::inputs::{Inputs, Observation, Phase, Pod, PodSample, Reading, saturating_count};
use crate::spec::{Metric, MetricKind, Platform, Target};
use crate::{Quantity, UnixMillis};

use super::tally::{Question, Tally};
use super::usage::{Usage, UsageRatio};
use super::{MAX_COUNT, MetricError};

/// The closed band around 1.0 inside which nothing happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Excess that is ignored, as a share of the target.
    pub up: f64,
    /// Shortfall that is ignored, as a share of the target.
    pub down: f64,
}

impl Tolerance {
    pub(crate) fn contains(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What one metric asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal {
    /// Replicas.
    pub replicas: u32,
    /// Whole percent of the request, for utilization targets.
    pub utilization_percent: Option<i32>,
    /// Value per replica, for utilization and average targets.
    pub average: Option<Quantity>,
    /// Value for the whole, for value targets.
    pub total: Option<Quantity>,
}

/// Asks one metric. `current` is `inputs.current`; time comes in with `now`.
///
/// # Errors
///
/// [`MetricError`] if there is nothing to compute from.
pub fn propose(
    metric: &Metric,
    observation: &Observation,
    inputs: &Inputs,
    tolerance: Tolerance,
    platform: &Platform,
    now: UnixMillis,
) -> Result<Proposal, MetricError> {
    if let MetricKind::Unknown { kind } = &metric.kind {
        return Err(MetricError::UnknownSource { kind: kind.clone() });
    }
    let fleet = Fleet {
        inputs,
        tolerance,
        platform,
        now,
    };
    let (resource, container) = match &metric.kind {
        MetricKind::Resource { name } => (Some(name.as_str()), None),
        MetricKind::ContainerResource { name, container } => {
            (Some(name.as_str()), Some(container.as_str()))
        }
        _ => (None, None),
    };
    match &observation.reading {
        Reading::Failed(reason) => Err(MetricError::FetchFailed {
            reason: reason.clone(),
        }),
        // As Kubernetes' client of external metrics has it: nothing is not zero.
        Reading::Values(values) if values.is_empty() => Err(MetricError::NoSamples),
        Reading::Pods(samples) => fleet.per_pod(samples, resource, container, metric.target),
        Reading::Values(values) => {
            let total = values
                .iter()
                .fold(Quantity::default(), |sum, value| sum.saturating_add(*value));
            match metric.target {
                Target::Value(target) => fleet.value(total, target),
                Target::AverageValue(target) => Ok(fleet.average_value(total, target)),
                Target::Utilization(_) => Err(MetricError::NoSamples),
            }
        }
    }
}

/// `ceil`, saturating at the largest count; never negative.
fn ceil(replicas: f64) -> u32 {
    // `as` maps NaN and negatives to zero and saturates above.
    (replicas.ceil() as u32).min(MAX_COUNT)
}

struct Fleet<'a> {
    inputs: &'a Inputs,
    tolerance: Tolerance,
    platform: &'a Platform,
    now: UnixMillis,
}

impl Fleet<'_> {
    /// A value for the whole: scales the pods that are running and ready.
    fn value(&self, total: Quantity, target: Quantity) -> Result<Proposal, MetricError> {
        let ratio = total.milli() as f64 / target.milli() as f64;
        let current = self.inputs.current;
        let replicas = if current == 0 {
            ceil(ratio)
        } else if self.tolerance.contains(ratio) {
            current
        } else if self.inputs.pods.is_empty() {
            return Err(MetricError::NoPods);
        } else {
            let ready = |pod: &&Pod| pod.phase == Phase::Running && pod.ready == Some(true);
            let ready = saturating_count(self.inputs.pods.iter().filter(ready).count());
            ceil(ratio * f64::from(ready))
        };
        Ok(Proposal {
            replicas,
            utilization_percent: None,
            average: None,
            total: Some(total),
        })
    }

    /// A value per replica of one number: needs no pods, so it can wake from zero.
    fn average_value(&self, total: Quantity, target: Quantity) -> Proposal {
        let status = self.inputs.status_replicas.unwrap_or(self.inputs.current);
        let (used, target) = (total.milli() as f64, target.milli() as f64);
        let ratio = used / (target * f64::from(status));
        let replicas = if self.tolerance.contains(ratio) {
            status
        } else {
            ceil(used / target)
        };
        let average =
            (status > 0).then(|| Quantity::from_milli((used / f64::from(status)).ceil() as i64));
        Proposal {
            replicas,
            utilization_percent: None,
            average,
            total: None,
        }
    }

    /// Samples of pods: resources and pods metrics.
    fn per_pod(
        &self,
        samples: &[PodSample],
        resource: Option<&str>,
        container: Option<&str>,
        target: Target,
    ) -> Result<Proposal, MetricError> {
        if samples.is_empty() {
            return Err(MetricError::NoSamples);
        }
        if self.inputs.pods.is_empty() {
            return Err(MetricError::NoPods);
        }
        let question = Question {
            resource,
            container,
            percent: match target {
                Target::Utilization(percent) => Some(percent),
                Target::AverageValue(_) | Target::Value(_) => None,
            },
            platform: self.platform,
            now: self.now,
        };
        let tally = question.tally(&self.inputs.pods, samples)?;
        if tally.ready.entries() == 0 {
            return Err(MetricError::NoReadySamples);
        }
        let over = |usage: &Usage| match target {
            Target::Utilization(percent) => usage.utilization_ratio(percent),
            Target::AverageValue(value) | Target::Value(value) => Ok(usage.average_ratio(value)),
        };
        let first = over(&tally.ready)?;
        let missing_value = match target {
            Target::Utilization(_) => tally.missing_used,
            Target::AverageValue(value) | Target::Value(value) => {
                i128::from(value.milli()) * i128::from(tally.missing)
            }
        };
        let replicas = self.settle(&tally, first.ratio, missing_value, over)?;
        Ok(Proposal {
            replicas,
            utilization_percent: first.utilization_percent,
            average: Some(first.average),
            total: None,
        })
    }

    /// From the first ratio to a count: pods that say nothing are assumed to
    /// damp the change, and may at most cancel it.
    fn settle(
        &self,
        tally: &Tally,
        ratio: f64,
        missing_used: i128,
        over: impl Fn(&Usage) -> Result<UsageRatio, MetricError>,
    ) -> Result<u32, MetricError> {
        let current = self.inputs.current;
        let idle_unready = tally.unready > 0 && ratio > 1.0;
        if !idle_unready && tally.missing == 0 {
            let ready = f64::from(saturating_count(
                usize::try_from(tally.ready_pods).unwrap_or(usize::MAX),
            ));
            return Ok(if self.tolerance.contains(ratio) {
                current
            } else {
                ceil(ratio * ready)
            });
        }
        let mut filled = tally.ready;
        if ratio < 1.0 {
            filled.add_group(tally.missing, missing_used, tally.missing_requested);
        } else if ratio > 1.0 {
            filled.add_group(tally.missing, 0, tally.missing_requested);
        }
        if idle_unready {
            filled.add_group(tally.unready, 0, tally.unready_requested);
        }
        let new = over(&filled)?.ratio;
        let flipped = (ratio < 1.0 && new > 1.0) || (ratio > 1.0 && new < 1.0);
        if flipped || self.tolerance.contains(new) {
            return Ok(current);
        }
        let replicas = ceil(new * filled.entries() as f64);
        let wrong_side = (new < 1.0 && replicas > current) || (new > 1.0 && replicas < current);
        Ok(if wrong_side { current } else { replicas })
    }
}
