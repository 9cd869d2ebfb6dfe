//! How fast the count may move: policies, windows, tolerances.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `behavior` block. Its mere presence switches from the legacy limits
/// (doubling) to policies, as in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Behavior {
    /// Rules for growing; what is absent takes the platform's default.
    #[serde(default)]
    pub scale_up: ScalingRules,
    /// Rules for shrinking; what is absent takes the platform's default.
    #[serde(default)]
    pub scale_down: ScalingRules,
}

/// Rules for one direction as written; every absent part has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScalingRules {
    /// Which policy wins. Default: [`SelectPolicy::Max`].
    #[serde(default)]
    pub select: Option<SelectPolicy>,
    /// Default: 0 for growing, the platform's 300 for shrinking.
    #[serde(default)]
    pub stabilization_window_seconds: Option<u32>,
    /// Default: growing 4 pods or 100 % per 15 s, shrinking 100 % per 15 s.
    #[serde(default)]
    pub policies: Option<Vec<Policy>>,
    /// Deviations up to this share of the target are ignored. Default: the platform's 0.1.
    #[serde(default)]
    pub tolerance: Option<f64>,
}

/// At most this much change per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// Pods or percent.
    pub value: u32,
    /// The period looked back over.
    pub period_seconds: u32,
}

/// What a [`Policy`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the replicas at the start of the period.
    Percent,
}

/// Which of several policies wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SelectPolicy {
    /// The one that allows the largest change.
    #[default]
    Max,
    /// The one that allows the smallest change.
    Min,
    /// None: this direction is closed.
    Disabled,
}

impl Policy {
    /// At most `pods` per `period`.
    #[must_use]
    pub fn pods(pods: u32, period: Duration) -> Self {
        Self {
            kind: PolicyKind::Pods,
            value: pods,
            period_seconds: seconds(period),
        }
    }

    /// At most `percent` per `period`.
    #[must_use]
    pub fn percent(percent: u32, period: Duration) -> Self {
        Self {
            kind: PolicyKind::Percent,
            value: percent,
            period_seconds: seconds(period),
        }
    }
}

impl ScalingRules {
    /// Adds a policy. The first one replaces the default policies.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.get_or_insert_default().push(policy);
        self
    }

    /// Which policy wins.
    #[must_use]
    pub fn select(mut self, select: SelectPolicy) -> Self {
        self.select = Some(select);
        self
    }

    /// The stabilization window, in whole seconds.
    #[must_use]
    pub fn stabilization_window(mut self, window: Duration) -> Self {
        self.stabilization_window_seconds = Some(seconds(window));
        self
    }

    /// The tolerance as a share of the target.
    #[must_use]
    pub fn tolerance(mut self, share: f64) -> Self {
        self.tolerance = Some(share);
        self
    }
}

/// Rules for one direction with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveRules {
    /// Which policy wins.
    pub select: SelectPolicy,
    /// The stabilization window.
    pub stabilization_window_seconds: u32,
    /// The policies.
    pub policies: Vec<Policy>,
}

impl EffectiveRules {
    /// Fills `rules` with the defaults for growing.
    #[must_use]
    pub fn scale_up(rules: &ScalingRules) -> Self {
        let quarter = Duration::from_secs(15);
        Self::fill(rules, 0, || {
            vec![Policy::pods(4, quarter), Policy::percent(100, quarter)]
        })
    }

    /// Fills `rules` with the defaults for shrinking; `window_seconds` is the platform's window.
    #[must_use]
    pub fn scale_down(rules: &ScalingRules, window_seconds: u32) -> Self {
        Self::fill(rules, window_seconds, || {
            vec![Policy::percent(100, Duration::from_secs(15))]
        })
    }

    fn fill(rules: &ScalingRules, window: u32, policies: impl FnOnce() -> Vec<Policy>) -> Self {
        Self {
            select: rules.select.unwrap_or_default(),
            stabilization_window_seconds: rules.stabilization_window_seconds.unwrap_or(window),
            policies: rules.policies.clone().unwrap_or_else(policies),
        }
    }

    /// The longest period any policy looks back over.
    pub(crate) fn longest_period_seconds(&self) -> u32 {
        self.policies
            .iter()
            .map(|policy| policy.period_seconds)
            .max()
            .unwrap_or(0)
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
