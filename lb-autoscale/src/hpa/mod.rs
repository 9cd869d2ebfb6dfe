//! The arithmetic of `autoscaling/v2`, rule by rule.
//!
//! These are the parts that [`decide`](crate::decide()) is made of, public so
//! that each can be checked against Kubernetes on its own. The rules were read
//! in the Kubernetes sources (`pkg/controller/podautoscaler`, releases 1.20 to
//! 1.35) and are written here in our own words and code; floating point runs in
//! the same order as there, because 50 + 10 % is 56 in binary64 and 55 on paper.
//!
//! | rule                                                   | item |
//! |--------------------------------------------------------|------|
//! | whose sample counts                                    | [`group_pod`] |
//! | what a pod requests                                    | [`pod_request`] |
//! | sums, truncated percent and averages                   | [`Usage`] |
//! | what one metric asks for                               | [`propose`] |
//! | stabilization windows                                  | [`Recommendations`] |
//! | policies, legacy limit, bounds                         | [`policy_limit`], [`rate_limit`], [`legacy_rate_limit`] |
//! | changes remembered for policies                        | [`ScaleEvents`] |
//!
//! ```
//! use lb_autoscale::hpa::{Direction, Changes, ScaleEvents, policy_limit};
//! use lb_autoscale::spec::{EffectiveRules, Policy, ScalingRules};
//! use lb_autoscale::UnixMillis;
//! use std::time::Duration;
//!
//! let ten_percent = ScalingRules::default().policy(Policy::percent(10, Duration::from_secs(60)));
//! let rules = EffectiveRules::scale_up(&ten_percent);
//! let nothing = ScaleEvents::default();
//! let changes = Changes { ups: &nothing, downs: &nothing, now: UnixMillis::from_secs(0) };
//! assert_eq!(policy_limit(Direction::Up, 50, &rules, changes), 56);
//! ```

mod events;
mod group;
mod limits;
mod names;
pub(crate) mod reconcile;
mod replicas;
mod stabilize;
mod tally;
mod usage;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use events::{ScaleEvent, ScaleEvents};
pub use group::{Group, group_pod};
pub use limits::{Changes, Direction, Limited, legacy_rate_limit, policy_limit, rate_limit};
pub use replicas::{Proposal, Tolerance, propose};
pub use stabilize::{Recommendation, Recommendations};
pub use usage::{Usage, UsageRatio, pod_request};

/// Kubernetes counts replicas in 32 signed bits; everything saturates here.
pub(crate) const MAX_COUNT: u32 = i32::MAX as u32;

/// Why a metric proposes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// The source failed.
    #[error("it could not be read: {reason}")]
    FetchFailed {
        /// What the source said.
        reason: String,
    },
    /// The reading is older than the metric allows.
    #[error("its reading is {age_seconds} s old, {limit_seconds} s are allowed")]
    Stale {
        /// Age.
        age_seconds: u64,
        /// The limit.
        limit_seconds: u32,
    },
    /// The source answered, but with no sample that fits.
    #[error("no samples were reported")]
    NoSamples,
    /// No pods are known.
    #[error("no pods are known")]
    NoPods,
    /// No sample belongs to a pod that counts.
    #[error("no pod that counts reported a sample")]
    NoReadySamples,
    /// The pods that count request nothing.
    #[error("the pods that reported request nothing, so there is no utilization")]
    NoKnownPods,
    /// A container without a request makes utilization meaningless.
    #[error("container {container} of pod {pod} has no request")]
    MissingRequest {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// The named container does not exist.
    #[error("container {container} was not found")]
    ContainerNotFound {
        /// The container.
        container: String,
    },
    /// A kind of metric that this version does not know.
    #[error("metrics of kind {kind} are unknown")]
    UnknownSource {
        /// The kind.
        kind: String,
    },
}

/// What the engine remembers between decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Proposals of the last windows; `None` before the first decision ever.
    pub recommendations: Option<Recommendations>,
    /// Growth lately.
    pub scale_ups: ScaleEvents,
    /// Shrinking lately.
    pub scale_downs: ScaleEvents,
}

impl History {
    /// The clock was set back by this much.
    pub(crate) fn move_back(&mut self, back: Duration) {
        let proposed = self.recommendations.iter_mut().flat_map(|all| &mut all.0);
        let changed = [&mut self.scale_ups.0, &mut self.scale_downs.0];
        let changed = changed.into_iter().flatten();
        let times = proposed
            .map(|entry| &mut entry.at)
            .chain(changed.map(|event| &mut event.at));
        for time in times {
            *time = *time - back;
        }
    }
}
