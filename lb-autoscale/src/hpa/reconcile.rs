//! One whole decision as Kubernetes makes it.

use std::cell::LazyCell;

use crate::UnixMillis;
use crate::decision::{Condition, Conditions, MetricReport, Reason, Stage, Trace};
use crate::inputs::{Inputs, Observation};
use crate::spec::{Behavior, EffectiveRules, Metric, MetricKind, ScalingRules, Spec};

use super::limits::{Changes, Limited, legacy_rate_limit, rate_limit};
use super::replicas::{Proposal, Tolerance, propose};
use super::{History, MetricError};

/// What the exact engine wants, before floors and ceilings.
pub(crate) struct Verdict {
    pub(crate) desired: u32,
    /// The combined proposal before windows and limits; `None` if none was made.
    pub(crate) proposed: Option<u32>,
    pub(crate) conditions: Conditions,
    pub(crate) metrics: Vec<MetricReport>,
    pub(crate) error: Option<String>,
}

/// Everything that proposes.
pub(crate) struct Proposals<'a> {
    pub(crate) votes: &'a [Vote],
    /// A proposal made outside of the metrics, with its name.
    pub(crate) extra: Option<(&'static str, u32)>,
}

/// Decides by `spec` alone. Changes `history` by the new proposal, not by an event.
pub(crate) fn reconcile(
    spec: &Spec,
    history: &mut History,
    inputs: &Inputs,
    proposals: &Proposals<'_>,
    now: UnixMillis,
    trace: &mut Trace,
) -> Verdict {
    let current = inputs.current;
    history
        .recommendations
        .get_or_insert_with(|| first_recommendation(current, now));
    let mut verdict = Verdict {
        desired: current,
        proposed: None,
        conditions: Conditions {
            able_to_scale: Condition::new(true, Reason::SucceededGetScale),
            ..Conditions::default()
        },
        metrics: Vec::new(),
        error: None,
    };
    let (min, max) = (spec.min_replicas(), spec.max_replicas());
    if current == 0 && min != 0 && !inputs.fresh {
        verdict.conditions.scaling_active = Condition::new(false, Reason::ScalingDisabled);
        trace.step(
            Stage::Bounds,
            "zero replicas",
            (0, 0),
            "ScalingDisabled",
            &[],
        );
    } else if current > max || current < min {
        verdict.desired = current.clamp(min, max);
        let rule = if current > max {
            "maxReplicas"
        } else {
            "minReplicas"
        };
        trace.step(
            Stage::Bounds,
            rule,
            (current, verdict.desired),
            "OutOfBounds",
            &[],
        );
    } else {
        verdict.metrics = proposals.votes.iter().map(Vote::report).collect();
        if let Some(proposed) = combine(spec, current, proposals, &mut verdict, trace) {
            verdict.proposed = Some(proposed);
            normalize(spec, history, current, proposed, now, &mut verdict, trace);
        }
    }
    verdict
}

/// A fresh controller remembers the count it found, so it cannot shrink at once.
fn first_recommendation(current: u32, now: UnixMillis) -> super::Recommendations {
    super::Recommendations(vec![super::Recommendation {
        replicas: current,
        at: now,
    }])
}

// === Votes ===

/// What one metric said.
pub(crate) struct Vote {
    pub(crate) id: String,
    pub(crate) failure_reason: Reason,
    pub(crate) result: Result<Proposal, MetricError>,
}

/// Asks every metric of the spec.
pub(crate) fn ask_all(
    spec: &Spec,
    inputs: &Inputs,
    now: UnixMillis,
    trace: &mut Trace,
) -> Vec<Vote> {
    let tolerance = tolerance(spec);
    let absent = LazyCell::new(|| Observation::failed("it was not reported"));
    spec.metrics()
        .iter()
        .map(|metric| {
            let observation = inputs.metrics.get(&metric.id).unwrap_or_else(|| &*absent);
            let result = fresh(metric, observation, now).and_then(|()| {
                propose(metric, observation, inputs, tolerance, spec.platform(), now)
            });
            let vote = Vote {
                id: metric.id.clone(),
                failure_reason: failure_reason(metric),
                result,
            };
            vote.trace(inputs.current, trace);
            vote
        })
        .collect()
}

/// Is what was observed young enough for its metric?
pub(crate) fn fresh(
    metric: &Metric,
    observation: &Observation,
    now: UnixMillis,
) -> Result<(), MetricError> {
    let (Some(limit_seconds), Some(at)) = (metric.stale_after_seconds, observation.at) else {
        return Ok(());
    };
    let age_seconds = now.since(at).as_secs();
    if age_seconds > u64::from(limit_seconds) {
        return Err(MetricError::Stale {
            age_seconds,
            limit_seconds,
        });
    }
    Ok(())
}

fn tolerance(spec: &Spec) -> Tolerance {
    let own = |rules: fn(&Behavior) -> &ScalingRules| {
        spec.behavior()
            .and_then(|behavior| rules(behavior).tolerance)
    };
    let platform = spec.platform();
    Tolerance {
        up: own(|behavior| &behavior.scale_up).unwrap_or(platform.scale_up_tolerance),
        down: own(|behavior| &behavior.scale_down).unwrap_or(platform.scale_down_tolerance),
    }
}

fn failure_reason(metric: &Metric) -> Reason {
    match &metric.kind {
        MetricKind::Resource { .. } => Reason::FailedGetResourceMetric,
        MetricKind::ContainerResource { .. } => Reason::FailedGetContainerResourceMetric,
        MetricKind::Pods(_) => Reason::FailedGetPodsMetric,
        MetricKind::Object { .. } => Reason::FailedGetObjectMetric,
        MetricKind::External(_) => Reason::FailedGetExternalMetric,
        MetricKind::Unknown { .. } => Reason::InvalidMetricSourceType,
    }
}

impl Vote {
    fn trace(&self, current: u32, trace: &mut Trace) {
        match &self.result {
            Ok(proposal) => {
                let numbers: Vec<_> = [
                    (
                        "utilization_percent",
                        proposal.utilization_percent.map(f64::from),
                    ),
                    ("average", proposal.average.map(crate::Quantity::as_f64)),
                    ("total", proposal.total.map(crate::Quantity::as_f64)),
                ]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
                let span = (current, proposal.replicas);
                trace.step(Stage::Metric, self.id.clone(), span, "Proposed", &numbers);
            }
            Err(error) => {
                let reason = format!("{}: {error}", self.failure_reason);
                trace.step(
                    Stage::Metric,
                    self.id.clone(),
                    (current, current),
                    reason,
                    &[],
                );
            }
        }
    }

    fn report(&self) -> MetricReport {
        let proposal = self.result.as_ref().ok();
        MetricReport {
            id: self.id.clone(),
            replicas: proposal.map(|proposal| proposal.replicas),
            utilization_percent: proposal.and_then(|proposal| proposal.utilization_percent),
            average: proposal
                .and_then(|proposal| proposal.average)
                .map(crate::Quantity::as_f64),
            total: proposal
                .and_then(|proposal| proposal.total)
                .map(crate::Quantity::as_f64),
            error: self.result.as_ref().err().map(ToString::to_string),
        }
    }
}

/// The largest proposal wins. A metric that failed forbids shrinking: it might
/// have asked for more.
fn combine(
    spec: &Spec,
    current: u32,
    &Proposals { votes, extra }: &Proposals<'_>,
    verdict: &mut Verdict,
    trace: &mut Trace,
) -> Option<u32> {
    let failed = votes.iter().find(|vote| vote.result.is_err());
    verdict.error =
        failed.and_then(|vote| Some(format!("{}: {}", vote.id, vote.result.as_ref().err()?)));
    let metrics = votes
        .iter()
        .filter_map(|vote| Some((vote.id.as_str(), vote.result.as_ref().ok()?.replicas)));
    let winner = metrics
        .chain(extra)
        .reduce(|best, next| if next.1 > best.1 { next } else { best });
    let nothing_to_ask = votes.is_empty() && extra.is_none();
    let winner = winner.or(nothing_to_ask.then_some(("minReplicas", spec.min_replicas())));
    match (winner, failed) {
        // A metric that fails keeps the others from shrinking.
        (winner, Some(vote)) if winner.is_none_or(|(_, replicas)| replicas < current) => {
            verdict.conditions.scaling_active = Condition::new(false, vote.failure_reason);
            let reason = format!("{}: held, it failed", vote.failure_reason);
            trace.step(
                Stage::Note,
                vote.id.clone(),
                (current, current),
                reason,
                &[],
            );
            None
        }
        (Some((rule, replicas)), _) => {
            verdict.conditions.scaling_active = Condition::new(true, Reason::ValidMetricFound);
            let span = (current, replicas);
            trace.step(
                Stage::Combine,
                rule.to_owned(),
                span,
                "ValidMetricFound",
                &[],
            );
            Some(replicas)
        }
        (None, _) => None,
    }
}

/// Windows, then rates, then bounds.
fn normalize(
    spec: &Spec,
    history: &mut History,
    current: u32,
    proposed: u32,
    now: UnixMillis,
    verdict: &mut Verdict,
    trace: &mut Trace,
) {
    let window = spec.platform().downscale_stabilization_seconds;
    let bounds = spec.min_replicas()..=spec.max_replicas();
    let memory = history.recommendations.get_or_insert_default();
    let (stable, Limited { replicas, reason }) = if let Some(behavior) = spec.behavior() {
        let up = EffectiveRules::scale_up(&behavior.scale_up);
        let down = EffectiveRules::scale_down(&behavior.scale_down, window);
        let (up_window, down_window) = (
            up.stabilization_window_seconds,
            down.stabilization_window_seconds,
        );
        let stable = memory.stabilize(current, proposed, up_window, down_window, now);
        let changes = Changes {
            ups: &history.scale_ups,
            downs: &history.scale_downs,
            now,
        };
        (
            stable,
            rate_limit(current, stable, bounds, &up, &down, changes),
        )
    } else {
        let stable = memory.stabilize_legacy(proposed, window, now);
        let (factor, minimum) = (
            spec.platform().scale_up_limit_factor,
            spec.platform().scale_up_limit_minimum,
        );
        (
            stable,
            legacy_rate_limit(current, stable, bounds, factor, minimum),
        )
    };
    let able = match stable == proposed {
        true => Reason::ReadyForNewScale,
        false if spec.behavior().is_some() && proposed >= current => Reason::ScaleUpStabilized,
        false => Reason::ScaleDownStabilized,
    };
    verdict.conditions.able_to_scale = Condition::new(true, able);
    if stable != proposed {
        trace.step(
            Stage::Stabilize,
            "window",
            (proposed, stable),
            able.to_string(),
            &[],
        );
    }
    verdict.conditions.scaling_limited = Condition::new(replicas != stable, reason);
    if replicas != stable {
        trace.step(
            Stage::Limit,
            "limits",
            (stable, replicas),
            reason.to_string(),
            &[],
        );
    }
    verdict.desired = replicas;
}
