//! The answer, and every step that led to it.
//!
//! A [`Decision`] carries the count, whom to stop, the three conditions that
//! Kubernetes publishes, and an ordered trace. [`Decision::why`] folds the
//! trace into one sentence for a log line or a dashboard.
//!
//! ```
//! use lb_autoscale::{Inputs, Observation, Spec, State, UnixMillis, decide, spec::Metric};
//!
//! let spec = Spec::builder("simulation")
//!     .replicas(3..=5)
//!     .metric(Metric::external("active_simulations").average_value(8.0))
//!     .build()?;
//! let inputs = Inputs::new(3).observe("active_simulations", Observation::value(31.0));
//! let decision = decide(&spec, &mut State::default(), &inputs, UnixMillis::from_secs(0));
//! assert_eq!(decision.desired, 4);
//! assert_eq!(decision.why(), "3 -> 4: active_simulations asks for 4 (ValidMetricFound)");
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// When it was made.
    pub at: UnixMillis,
    /// Replicas before.
    pub current: u32,
    /// Replicas wanted.
    pub desired: u32,
    /// Whom to stop, in this order; empty unless pods are known and `desired < current`.
    pub victims: Vec<String>,
    /// What Kubernetes would publish.
    pub conditions: Conditions,
    /// Each metric's part, in the order of the spec.
    pub metrics: Vec<MetricReport>,
    /// The first metric that failed, although a decision may have been made.
    pub error: Option<String>,
    /// Every step, in order.
    pub trace: Vec<Step>,
}

/// One metric's part in a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricReport {
    /// The metric's id.
    pub id: String,
    /// Replicas it asks for; `None` if it failed.
    pub replicas: Option<u32>,
    /// Whole percent of the request.
    pub utilization_percent: Option<i32>,
    /// Value per replica.
    pub average: Option<f64>,
    /// Value for the whole.
    pub total: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// Where in the order it belongs.
    pub stage: Stage,
    /// The metric, policy, floor or ceiling that spoke.
    pub rule: Cow<'static, str>,
    /// Replicas before the step.
    pub before: u32,
    /// Replicas after it.
    pub after: u32,
    /// A reason code, Kubernetes's own where it has one.
    pub reason: Cow<'static, str>,
    /// The numbers it used, by name.
    pub numbers: Vec<(Cow<'static, str>, f64)>,
}

/// The stages of a decision, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// The time was put right.
    Time,
    /// The count was outside the bounds, or scaling is off.
    Bounds,
    /// One metric asked.
    Metric,
    /// The proposals became one.
    Combine,
    /// The stabilization windows.
    Stabilize,
    /// Policies and bounds.
    Limit,
    /// A named floor.
    Floor,
    /// A named ceiling.
    Ceiling,
    /// Something worth saying that changed nothing.
    Note,
    /// Whom to stop.
    Victims,
}

/// The conditions of a HorizontalPodAutoscaler's status; `None` where a
/// decision leaves the former value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Conditions {
    /// Can the count be read and written?
    pub able_to_scale: Option<Condition>,
    /// Is there a number to act on?
    pub scaling_active: Option<Condition>,
    /// Did a limit hold it back?
    pub scaling_limited: Option<Condition>,
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Condition {
    /// True or false.
    pub status: bool,
    /// Kubernetes's reason code.
    pub reason: Reason,
}

/// The reason codes of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the codes are Kubernetes's own words")]
pub enum Reason {
    SucceededGetScale,
    FailedGetScale,
    FailedUpdateScale,
    ReadyForNewScale,
    ScaleUpStabilized,
    ScaleDownStabilized,
    SucceededRescale,
    ValidMetricFound,
    ScalingDisabled,
    FailedGetResourceMetric,
    FailedGetContainerResourceMetric,
    FailedGetPodsMetric,
    FailedGetObjectMetric,
    FailedGetExternalMetric,
    InvalidMetricSourceType,
    DesiredWithinRange,
    TooFewReplicas,
    TooManyReplicas,
    ScaleUpLimit,
    ScaleDownLimit,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The codes are the variants' names.
        fmt::Debug::fmt(self, f)
    }
}

impl Condition {
    pub(crate) fn new(status: bool, reason: Reason) -> Option<Self> {
        Some(Self { status, reason })
    }
}

impl Decision {
    /// Whether the count is to change.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.desired != self.current
    }

    /// One sentence: the change, the winning metric, and every step that moved the count.
    #[must_use]
    pub fn why(&self) -> String {
        let mut because: Vec<String> = self
            .trace
            .iter()
            .filter(|step| {
                let always = [Stage::Bounds, Stage::Combine, Stage::Note];
                always.contains(&step.stage) || step.before != step.after
            })
            .filter(|step| step.stage != Stage::Metric)
            .map(Step::sentence)
            .collect();
        if because.is_empty() {
            because.push("nothing asks for a change".into());
        }
        let head = if self.changes() {
            format!("{} -> {}", self.current, self.desired)
        } else {
            format!("stays at {}", self.current)
        };
        format!("{head}: {}", because.join("; "))
    }
}

impl Step {
    /// The step in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self {
            rule,
            before,
            after,
            reason,
            ..
        } = self;
        match self.stage {
            Stage::Combine => format!("{rule} asks for {after} ({reason})"),
            Stage::Metric => format!("{rule}: {after} ({reason})"),
            Stage::Note => format!("{rule}: {reason}"),
            Stage::Bounds if before == after => format!("{rule}: {reason}"),
            Stage::Victims => format!("stops {rule} ({reason})"),
            _ => format!("{rule} makes it {before} -> {after} ({reason})"),
        }
    }
}

/// Collects the steps of one decision.
#[derive(Debug, Default)]
pub(crate) struct Trace(Vec<Step>);

impl Trace {
    pub(crate) fn step(
        &mut self,
        stage: Stage,
        rule: impl Into<Cow<'static, str>>,
        (before, after): (u32, u32),
        reason: impl Into<Cow<'static, str>>,
        numbers: &[(&'static str, f64)],
    ) {
        self.0.push(Step {
            stage,
            rule: rule.into(),
            before,
            after,
            reason: reason.into(),
            numbers: numbers
                .iter()
                .map(|(name, value)| (Cow::Borrowed(*name), *value))
                .collect(),
        });
    }

    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.0
    }
}
