//! The limits of `autoscaling/v2`, each refusal with the path of its field.

use super::{MetricKind, Policy, ScalingRules, SpecBuilder, Target};

const MAX_PERIOD_SECONDS: u32 = 1_800;
const MAX_WINDOW_SECONDS: u32 = 3_600;
const MAX_REPLICAS: u32 = i32::MAX as u32;
/// More metrics or policies than anyone needs; keeps a decision bounded.
const MAX_ITEMS: usize = 64;

/// A field that cannot be what it was set to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SpecError {
    field: String,
    problem: String,
}

impl SpecError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// The field's path below `spec`, for example `metrics[0].resource.name`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

fn ensure(holds: bool, field: impl FnOnce() -> String, problem: &str) -> Result<(), SpecError> {
    if holds {
        Ok(())
    } else {
        Err(SpecError::new(field(), problem))
    }
}

pub(super) fn check(spec: &SpecBuilder) -> Result<(), SpecError> {
    ensure(!spec.name.is_empty(), || "name".into(), "must not be empty")?;
    bounds(spec)?;
    ensure(
        spec.metrics.len() <= MAX_ITEMS,
        || "metrics".into(),
        "must be at most 64",
    )?;
    for (index, metric) in spec.metrics.iter().enumerate() {
        let twin = spec.metrics[..index]
            .iter()
            .any(|other| other.id == metric.id);
        ensure(
            !twin,
            || format!("metrics[{index}].id"),
            "is used by an earlier metric",
        )?;
        let (path, problem) = match check_metric(&metric.kind, metric.target) {
            Ok(()) => continue,
            Err(found) => found,
        };
        return Err(SpecError::new(format!("metrics[{index}].{path}"), problem));
    }
    if let Some(behavior) = &spec.behavior {
        rules("behavior.scaleUp", &behavior.scale_up)?;
        rules("behavior.scaleDown", &behavior.scale_down)?;
    }
    platform(spec)?;
    policies(spec)
}

fn bounds(spec: &SpecBuilder) -> Result<(), SpecError> {
    let max = spec.max_replicas;
    ensure(max > 0, || "maxReplicas".into(), "must be greater than 0")?;
    ensure(
        max <= MAX_REPLICAS,
        || "maxReplicas".into(),
        "must be at most 2147483647",
    )?;
    ensure(
        spec.min_replicas <= max,
        || "maxReplicas".into(),
        "must not be below minReplicas",
    )
}

fn check_metric(kind: &MetricKind, target: Target) -> Result<(), (String, &'static str)> {
    let (field, name) = match kind {
        MetricKind::Resource { name } => ("resource", name),
        MetricKind::ContainerResource { name, container } => {
            if container.is_empty() {
                return Err(("containerResource.container".into(), "must not be empty"));
            }
            ("containerResource", name)
        }
        MetricKind::Pods(metric) => ("pods", &metric.name),
        MetricKind::Object { metric, object } => {
            if object.kind.is_empty() || object.name.is_empty() {
                return Err(("object.describedObject".into(), "needs a kind and a name"));
            }
            ("object", &metric.name)
        }
        MetricKind::External(metric) => ("external", &metric.name),
        MetricKind::Unknown { .. } => return Ok(()),
    };
    let resource = field.to_lowercase().contains("resource");
    if name.is_empty() {
        let key = if resource { "name" } else { "metric.name" };
        return Err((format!("{field}.{key}"), "must not be empty"));
    }
    let allowed = match target {
        Target::Utilization(_) => resource,
        Target::AverageValue(_) => true,
        Target::Value(_) => matches!(field, "object" | "external"),
    };
    if !allowed {
        return Err((
            format!("{field}.target.type"),
            "does not fit this kind of metric",
        ));
    }
    let (key, positive) = match target {
        Target::Utilization(percent) => ("averageUtilization", percent > 0),
        Target::AverageValue(value) => ("averageValue", value.milli() > 0),
        Target::Value(value) => ("value", value.milli() > 0),
    };
    if !positive {
        return Err((format!("{field}.target.{key}"), "must be greater than 0"));
    }
    Ok(())
}

fn rules(path: &str, rules: &ScalingRules) -> Result<(), SpecError> {
    let window = rules.stabilization_window_seconds.unwrap_or(0);
    ensure(
        window <= MAX_WINDOW_SECONDS,
        || format!("{path}.stabilizationWindowSeconds"),
        "must be at most 3600",
    )?;
    if let Some(policies) = &rules.policies {
        let at = || format!("{path}.policies");
        ensure(!policies.is_empty(), at, "must name at least one policy")?;
        ensure(policies.len() <= MAX_ITEMS, at, "must be at most 64")?;
        for (index, policy) in policies.iter().enumerate() {
            check_policy(&format!("{path}.policies[{index}]"), *policy)?;
        }
    }
    let tolerance = rules.tolerance.unwrap_or(0.0);
    ensure(
        tolerance.is_finite() && tolerance >= 0.0,
        || format!("{path}.tolerance"),
        "must be zero or more",
    )
}

fn check_policy(path: &str, policy: Policy) -> Result<(), SpecError> {
    let value = (1..=MAX_REPLICAS).contains(&policy.value);
    ensure(value, || format!("{path}.value"), "must be greater than 0")?;
    ensure(
        (1..=MAX_PERIOD_SECONDS).contains(&policy.period_seconds),
        || format!("{path}.periodSeconds"),
        "must be from 1 to 1800",
    )
}

fn policies(spec: &SpecBuilder) -> Result<(), SpecError> {
    let policies = &spec.policies;
    #[cfg(feature = "schedule")]
    {
        let few = policies.schedules.len() <= MAX_ITEMS;
        ensure(few, || "policies.schedules".into(), "must be at most 64")?;
        for (index, schedule) in policies.schedules.iter().enumerate() {
            schedule.check(&format!("policies.schedules[{index}]"))?;
        }
    }
    if let Some(burst) = &policies.burst {
        let sound = burst.threshold.is_finite() && burst.threshold > 1.0;
        ensure(
            sound,
            || "policies.burst.threshold".into(),
            "must be greater than 1",
        )?;
    }
    if let Some(budget) = &policies.budget {
        let sound =
            budget.price_per_replica_hour > 0.0 && budget.price_per_replica_hour.is_finite();
        ensure(
            sound,
            || "policies.budget.price_per_replica_hour".into(),
            "must be greater than 0",
        )?;
        let sound = budget.per_month >= 0.0 && budget.per_month.is_finite();
        ensure(
            sound,
            || "policies.budget.per_month".into(),
            "must be zero or more",
        )?;
    }
    if let Some(forecast) = &policies.forecast {
        let path = |field: &str| format!("policies.forecast.{field}");
        let sound = forecast.per_replica.is_finite() && forecast.per_replica > 0.0;
        ensure(sound, || path("per_replica"), "must be greater than 0")?;
        let slots =
            (2..=4_096).contains(&forecast.slots) && forecast.slots <= forecast.season_seconds;
        ensure(
            slots,
            || path("slots"),
            "must be from 2 to 4096, each a second or longer",
        )?;
        ensure(
            forecast.lead_seconds <= 86_400,
            || path("lead_seconds"),
            "must be at most 86400",
        )?;
        let share = (0.0..=1.0).contains(&forecast.quantile);
        ensure(share, || path("quantile"), "must be from 0 to 1")?;
    }
    Ok(())
}

fn platform(spec: &SpecBuilder) -> Result<(), SpecError> {
    let platform = &spec.platform;
    for tolerance in [platform.scale_up_tolerance, platform.scale_down_tolerance] {
        let sound = tolerance.is_finite() && tolerance >= 0.0;
        ensure(
            sound,
            || "platform.tolerance".into(),
            "must be zero or more",
        )?;
    }
    ensure(
        platform.downscale_stabilization_seconds <= MAX_WINDOW_SECONDS,
        || "platform.downscaleStabilizationSeconds".into(),
        "must be at most 3600",
    )?;
    ensure(
        platform.scale_up_limit_factor.is_finite() && platform.scale_up_limit_factor >= 1.0,
        || "platform.scaleUpLimitFactor".into(),
        "must be 1 or more",
    )
}
