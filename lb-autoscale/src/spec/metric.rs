//! What is measured, and the target it is held against.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Quantity;

/// One metric of a [`Spec`](super::Spec): where it comes from, its target, and
/// what happens while it cannot be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Unique in its spec; the key of its observation in [`Inputs`](crate::Inputs).
    /// Default: the metric's name.
    pub id: String,
    /// Where the values come from.
    pub kind: MetricKind,
    /// What they are compared with.
    pub target: Target,
    /// Older values count as a failed reading. Default: any age is accepted.
    #[serde(default)]
    pub stale_after_seconds: Option<u32>,
    /// What a failed reading means. Default: [`Fallback::Hold`], as Kubernetes.
    #[serde(default)]
    pub fallback: Fallback,
}

/// The kinds of `autoscaling/v2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MetricKind {
    /// A resource of every pod, summed over its containers.
    Resource {
        /// `cpu` or `memory`; `cpu` alone makes readiness matter.
        name: String,
    },
    /// The same of one named container.
    ContainerResource {
        /// `cpu` or `memory`.
        name: String,
        /// The container.
        container: String,
    },
    /// A number that every pod reports.
    Pods(MetricIdentifier),
    /// A number that describes one other object, for example a queue.
    Object {
        /// Which number.
        metric: MetricIdentifier,
        /// Of which object.
        object: ObjectRef,
    },
    /// Numbers from outside the cluster; several are summed.
    External(MetricIdentifier),
    /// A kind that this version does not know: it always fails to be read.
    Unknown {
        /// Its `type` as written.
        kind: String,
    },
}

/// A custom metric's name and, if given, the series it is restricted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricIdentifier {
    /// The metric's name.
    pub name: String,
    /// Restricts the series; opaque to the engine, meant for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A Kubernetes label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Names another object, as `scaleTargetRef` and `describedObject` do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// For example `apps/v1`; empty means the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// The object's name.
    pub name: String,
}

/// What a metric is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Percent of the request, averaged over the pods.
    Utilization(u32),
    /// A value per replica.
    AverageValue(Quantity),
    /// A value for the whole.
    Value(Quantity),
}

/// What a metric that cannot be read asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fallback {
    /// Nothing: growth on the other metrics is allowed, shrinking is not.
    #[default]
    Hold,
    /// As `Hold`, and at least this many replicas after the given time without a reading.
    Floor {
        /// The floor.
        replicas: u32,
        /// How long the metric may be silent first.
        after_seconds: u32,
    },
    /// Its last proposal counts on until it is this old; then as `Hold`.
    LastGood {
        /// The limit.
        for_seconds: u32,
    },
}

impl Metric {
    /// CPU or memory (or another resource) of every pod. Default target: 80 % of the request.
    pub fn resource(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(
            name.clone(),
            MetricKind::Resource { name },
            Target::Utilization(80),
        )
    }

    /// The same of one container. Default target: 80 % of its request.
    pub fn container_resource(name: impl Into<String>, container: impl Into<String>) -> Self {
        let (name, container) = (name.into(), container.into());
        let id = format!("{name}/{container}");
        Self::new(
            id,
            MetricKind::ContainerResource { name, container },
            Target::Utilization(80),
        )
    }

    /// A number that every pod reports. Default target: 1 per pod.
    pub fn pods(name: impl Into<String>) -> Self {
        let metric = MetricIdentifier {
            name: name.into(),
            selector: None,
        };
        Self::new(
            metric.name.clone(),
            MetricKind::Pods(metric),
            Target::AverageValue(ONE),
        )
    }

    /// A number of another object. Default target: 1 per replica.
    pub fn object(name: impl Into<String>, object: ObjectRef) -> Self {
        let metric = MetricIdentifier {
            name: name.into(),
            selector: None,
        };
        let id = metric.name.clone();
        Self::new(
            id,
            MetricKind::Object { metric, object },
            Target::AverageValue(ONE),
        )
    }

    /// A number from anywhere: a queue, a balancer, a closure. Default target: 1 per replica.
    pub fn external(name: impl Into<String>) -> Self {
        let metric = MetricIdentifier {
            name: name.into(),
            selector: None,
        };
        Self::new(
            metric.name.clone(),
            MetricKind::External(metric),
            Target::AverageValue(ONE),
        )
    }

    pub(crate) fn new(id: String, kind: MetricKind, target: Target) -> Self {
        Self {
            id,
            kind,
            target,
            stale_after_seconds: None,
            fallback: Fallback::Hold,
        }
    }

    /// Another key than the metric's name.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Target: percent of the request.
    #[must_use]
    pub fn utilization(mut self, percent: u32) -> Self {
        self.target = Target::Utilization(percent);
        self
    }

    /// Target: this much per replica.
    #[must_use]
    pub fn average_value(mut self, units: f64) -> Self {
        self.target = Target::AverageValue(Quantity::from_f64(units).unwrap_or_default());
        self
    }

    /// Target: this much in all.
    #[must_use]
    pub fn value(mut self, units: f64) -> Self {
        self.target = Target::Value(Quantity::from_f64(units).unwrap_or_default());
        self
    }

    /// Values older than this (in whole seconds) count as a failed reading.
    #[must_use]
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.stale_after_seconds = Some(u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        self
    }

    /// What a failed reading means.
    #[must_use]
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }
}

const ONE: Quantity = Quantity::from_units(1);
