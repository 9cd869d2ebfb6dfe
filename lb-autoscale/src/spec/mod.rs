//! What is wanted: bounds, metrics, and how fast the count may move.
//!
//! A [`Spec`] is checked once, in [`SpecBuilder::build`], by the limits that
//! Kubernetes puts on a HorizontalPodAutoscaler; afterwards every decision can
//! rely on it. It is plain data: it can be stored, compared, sent to the admin
//! service, and imported from or exported to a manifest (feature `manifest`).
//!
//! ```
//! use std::time::Duration;
//! use lb_autoscale::spec::{Metric, Policy, ScalingRules, Spec};
//!
//! let spec = Spec::builder("simulation")
//!     .replicas(3..=20)
//!     .metric(Metric::resource("cpu").utilization(70))
//!     .metric(Metric::external("active_simulations").average_value(8.0))
//!     .scale_down(ScalingRules::default().stabilization_window(Duration::from_secs(900)))
//!     .build()?;
//! assert_eq!(spec.max_replicas(), 20);
//!
//! let refused = Spec::builder("simulation").replicas(9..=3).build().unwrap_err();
//! assert_eq!(refused.field(), "maxReplicas");
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

mod behavior;
mod metric;
mod validate;

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::{Burst, Cooldown, Policies};

pub use behavior::{Behavior, EffectiveRules, Policy, PolicyKind, ScalingRules, SelectPolicy};
pub use metric::{
    Fallback, LabelRequirement, LabelSelector, Metric, MetricIdentifier, MetricKind, ObjectRef,
    Target,
};
pub use validate::SpecError;

/// A checked specification. Made by [`Spec::builder`] or from a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SpecBuilder", into = "SpecBuilder")]
pub struct Spec(SpecBuilder);

/// Collects a [`Spec`]. Every setter names its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpecBuilder {
    pub(crate) name: String,
    #[serde(default = "one")]
    pub(crate) min_replicas: u32,
    pub(crate) max_replicas: u32,
    #[serde(default)]
    pub(crate) metrics: Vec<Metric>,
    #[serde(default)]
    pub(crate) behavior: Option<Behavior>,
    #[serde(default)]
    pub(crate) platform: Platform,
    #[serde(default)]
    pub(crate) policies: Policies,
}

fn one() -> u32 {
    1
}

/// What a cluster's administrator sets for all autoscalers. The defaults are
/// those of kube-controller-manager.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// Excess up to this share of the target is ignored. Default: 0.1.
    pub scale_up_tolerance: f64,
    /// Shortfall up to this share of the target is ignored. Default: 0.1.
    pub scale_down_tolerance: f64,
    /// Window for shrinking where the behavior names none. Default: 300.
    pub downscale_stabilization_seconds: u32,
    /// A starting pod's CPU counts only once it is ready. Default: 300.
    pub cpu_initialization_period_seconds: u32,
    /// A pod that turned unready this soon after its start was never ready. Default: 30.
    pub initial_readiness_delay_seconds: u32,
    /// Without a behavior block: at most this factor per decision. Default: 2.
    pub scale_up_limit_factor: f64,
    /// Without a behavior block: up to this many replicas are always allowed. Default: 4.
    pub scale_up_limit_minimum: u32,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            scale_up_tolerance: 0.1,
            scale_down_tolerance: 0.1,
            downscale_stabilization_seconds: 300,
            cpu_initialization_period_seconds: 300,
            initial_readiness_delay_seconds: 30,
            scale_up_limit_factor: 2.0,
            scale_up_limit_minimum: 4,
        }
    }
}

// === impl Spec ===

impl Spec {
    /// Starts a specification; `name` shows up in decisions, metrics and instance names.
    pub fn builder(name: impl Into<String>) -> SpecBuilder {
        SpecBuilder {
            name: name.into(),
            min_replicas: 1,
            max_replicas: 10,
            metrics: Vec::new(),
            behavior: None,
            platform: Platform::default(),
            policies: Policies::default(),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The fewest replicas.
    #[must_use]
    pub fn min_replicas(&self) -> u32 {
        self.0.min_replicas
    }

    /// The most replicas.
    #[must_use]
    pub fn max_replicas(&self) -> u32 {
        self.0.max_replicas
    }

    /// The metrics, in the order they were given.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.0.metrics
    }

    /// The behavior block, if there is one.
    #[must_use]
    pub fn behavior(&self) -> Option<&Behavior> {
        self.0.behavior.as_ref()
    }

    /// The administrator's settings.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.0.platform
    }

    /// The policies around the exact decision.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.0.policies
    }

    /// The same specification, open for changes.
    #[must_use]
    pub fn to_builder(&self) -> SpecBuilder {
        self.0.clone()
    }
}

impl TryFrom<SpecBuilder> for Spec {
    type Error = SpecError;

    fn try_from(builder: SpecBuilder) -> Result<Self, SpecError> {
        builder.build()
    }
}

impl From<Spec> for SpecBuilder {
    fn from(spec: Spec) -> Self {
        spec.0
    }
}

// === impl SpecBuilder ===

impl SpecBuilder {
    /// Fewest and most replicas. Default: 1 to 10.
    #[must_use]
    pub fn replicas(mut self, range: RangeInclusive<u32>) -> Self {
        (self.min_replicas, self.max_replicas) = range.into_inner();
        self
    }

    /// Adds a metric; the largest proposal wins. Default: none, which asks for the minimum.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Rules for growing. Default: no behavior block, hence the legacy limits.
    #[must_use]
    pub fn scale_up(mut self, rules: ScalingRules) -> Self {
        self.behavior.get_or_insert_default().scale_up = rules;
        self
    }

    /// Rules for shrinking. Default: no behavior block, hence the legacy limits.
    #[must_use]
    pub fn scale_down(mut self, rules: ScalingRules) -> Self {
        self.behavior.get_or_insert_default().scale_down = rules;
        self
    }

    /// The whole behavior block at once. Default: none.
    #[must_use]
    pub fn behavior(mut self, behavior: Option<Behavior>) -> Self {
        self.behavior = behavior;
        self
    }

    /// The administrator's settings. Default: those of kube-controller-manager.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Deviations up to this share of the target are ignored. Default: 0.1.
    #[must_use]
    pub fn tolerance(mut self, share: f64) -> Self {
        self.platform.scale_up_tolerance = share;
        self.platform.scale_down_tolerance = share;
        self
    }

    /// Window for shrinking without a behavior block, in whole seconds. Default: 300 s.
    #[must_use]
    pub fn downscale_stabilization(mut self, window: Duration) -> Self {
        self.platform.downscale_stabilization_seconds =
            u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
        self
    }

    /// Changes the policies; see [`Policies`] for what there is. Default: none.
    #[must_use]
    pub fn policies(mut self, change: impl FnOnce(&mut Policies)) -> Self {
        change(&mut self.policies);
        self
    }

    /// Follows a jump at once. Default: off.
    #[must_use]
    pub fn burst(self, burst: Burst) -> Self {
        self.policies(|policies| policies.burst = Some(burst))
    }

    /// Pauses between changes. Default: none.
    #[must_use]
    pub fn cooldown(self, cooldown: Cooldown) -> Self {
        self.policies(|policies| policies.cooldown = Some(cooldown))
    }

    /// Shrinking never leaves fewer ready instances than this. Default: 0.
    #[must_use]
    pub fn min_healthy(self, fewest: u32) -> Self {
        self.policies(|policies| policies.min_healthy = Some(fewest))
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// [`SpecError`] names the first field that is outside the limits of
    /// `autoscaling/v2`, by its path in a manifest.
    pub fn build(self) -> Result<Spec, SpecError> {
        validate::check(&self)?;
        Ok(Spec(self))
    }
}
