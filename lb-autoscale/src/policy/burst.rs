use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;
use crate::hpa::reconcile::Verdict;
use crate::inputs::Inputs;

/// A proposal far above the fleet is a burst: it is followed at once, past
/// windows and rates, and nothing shrinks until the hold is over.
///
/// Knative calls this panic mode. Unlike there, a burst never proposes by
/// itself: it only lifts the limits from what the metrics ask for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Burst {
    /// Proposal over current replicas that counts as a burst. Default: 1.5.
    pub threshold: f64,
    /// How long nothing shrinks after the last sign of it. Default: 60.
    pub hold_seconds: u32,
}

impl Default for Burst {
    fn default() -> Self {
        Self {
            threshold: 1.5,
            hold_seconds: 60,
        }
    }
}

impl Burst {
    pub(super) fn bound(
        &self,
        until: &mut Option<UnixMillis>,
        inputs: &Inputs,
        verdict: &Verdict,
        now: UnixMillis,
    ) -> Option<Bound> {
        let current = f64::from(inputs.current.max(1));
        let proposed = verdict.proposed.unwrap_or(inputs.current);
        if f64::from(proposed) >= self.threshold * current {
            *until = Some(now + std::time::Duration::from_secs(self.hold_seconds.into()));
            return Some(Bound::floor("burst", proposed, "BurstStarted"));
        }
        if until.is_some_and(|until| now < until) {
            return Some(Bound::floor(
                "burst",
                proposed.max(inputs.current),
                "BurstHeld",
            ));
        }
        *until = None;
        None
    }
}
