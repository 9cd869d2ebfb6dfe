//! How far one decision may go: policies, the legacy limit, the bounds.

use std::ops::RangeInclusive;

use crate::UnixMillis;
use crate::decision::Reason;
use crate::spec::{EffectiveRules, PolicyKind, SelectPolicy};

use super::MAX_COUNT;
use super::events::ScaleEvents;

/// Growing or shrinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Growing.
    Up,
    /// Shrinking.
    Down,
}

/// A count inside its limits, and which limit it met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Replicas.
    pub replicas: u32,
    /// [`Reason::DesiredWithinRange`] if no limit was met.
    pub reason: Reason,
}

/// What was changed lately, in both directions.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// Growth.
    pub ups: &'a ScaleEvents,
    /// Shrinking.
    pub downs: &'a ScaleEvents,
    /// The time they are seen from.
    pub now: UnixMillis,
}

/// The count that the policies of one direction allow. May lie on the wrong
/// side of `current`, or below zero, when a period's allowance is used up.
#[must_use]
pub fn policy_limit(
    direction: Direction,
    current: u32,
    rules: &EffectiveRules,
    changes: Changes<'_>,
) -> i64 {
    let limits = rules.policies.iter().map(|policy| {
        let added = changes
            .ups
            .change_within(policy.period_seconds, changes.now);
        let removed = changes
            .downs
            .change_within(policy.period_seconds, changes.now);
        let start = i64::from(current) - i64::from(added) + i64::from(removed);
        let value = i64::from(policy.value);
        let share = f64::from(policy.value) / 100.0;
        // The binary64 products are Kubernetes's own: 50 + 10 % is 56.
        match (policy.kind, direction) {
            (PolicyKind::Pods, Direction::Up) => start + value,
            (PolicyKind::Pods, Direction::Down) => start - value,
            (PolicyKind::Percent, Direction::Up) => (start as f64 * (1.0 + share)).ceil() as i64,
            (PolicyKind::Percent, Direction::Down) => (start as f64 * (1.0 - share)) as i64,
        }
    });
    let widest = match (rules.select, direction) {
        (SelectPolicy::Disabled, _) => None,
        (SelectPolicy::Max, Direction::Up) | (SelectPolicy::Min, Direction::Down) => limits.max(),
        (SelectPolicy::Min, Direction::Up) | (SelectPolicy::Max, Direction::Down) => limits.min(),
    };
    widest.unwrap_or(i64::from(current))
}

/// With a behavior block: policies first, then the bounds.
#[must_use]
pub fn rate_limit(
    current: u32,
    proposed: u32,
    bounds: RangeInclusive<u32>,
    up: &EffectiveRules,
    down: &EffectiveRules,
    changes: Changes<'_>,
) -> Limited {
    let within = Limited {
        replicas: proposed,
        reason: Reason::DesiredWithinRange,
    };
    if proposed > current {
        let limit = clamp(policy_limit(Direction::Up, current, up, changes)).max(current);
        let (most, reason) = if *bounds.end() > limit {
            (limit, Reason::ScaleUpLimit)
        } else {
            (*bounds.end(), Reason::TooManyReplicas)
        };
        if proposed > most {
            Limited {
                replicas: most,
                reason,
            }
        } else {
            within
        }
    } else if proposed < current {
        let limit = clamp(policy_limit(Direction::Down, current, down, changes)).min(current);
        let (fewest, reason) = if *bounds.start() < limit {
            (limit, Reason::ScaleDownLimit)
        } else {
            (*bounds.start(), Reason::TooFewReplicas)
        };
        if proposed < fewest {
            Limited {
                replicas: fewest,
                reason,
            }
        } else {
            within
        }
    } else {
        within
    }
}

/// Without a behavior block: at most `factor` times `current`, but `minimum` is always allowed.
#[must_use]
pub fn legacy_rate_limit(
    current: u32,
    proposed: u32,
    bounds: RangeInclusive<u32>,
    factor: f64,
    minimum: u32,
) -> Limited {
    // `as` saturates.
    let limit = (factor * f64::from(current)).max(f64::from(minimum)) as u32;
    let limit = limit.min(MAX_COUNT);
    let (most, reason) = if *bounds.end() > limit {
        (limit, Reason::ScaleUpLimit)
    } else {
        (*bounds.end(), Reason::TooManyReplicas)
    };
    if proposed < *bounds.start() {
        Limited {
            replicas: *bounds.start(),
            reason: Reason::TooFewReplicas,
        }
    } else if proposed > most {
        Limited {
            replicas: most,
            reason,
        }
    } else {
        Limited {
            replicas: proposed,
            reason: Reason::DesiredWithinRange,
        }
    }
}

fn clamp(replicas: i64) -> u32 {
    u32::try_from(replicas.clamp(0, i64::from(MAX_COUNT))).unwrap_or(MAX_COUNT)
}
