use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;

/// Pauses after a change. Not a stabilization window: that one looks at what
/// was proposed, a cooldown looks at what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cooldown {
    /// No growth this soon after growth. Default: 0.
    pub after_up_seconds: u32,
    /// No shrinking this soon after any change. Default: 0.
    pub after_change_seconds: u32,
}

impl Cooldown {
    pub(super) fn bounds(
        &self,
        last_up: Option<UnixMillis>,
        last_down: Option<UnixMillis>,
        current: u32,
        now: UnixMillis,
    ) -> Vec<Bound> {
        let within = |at: Option<UnixMillis>, seconds: u32| {
            at.is_some_and(|at| now.age_of(at) < i64::from(seconds) * 1_000)
        };
        let mut bounds = Vec::new();
        if within(last_up.max(last_down), self.after_change_seconds) {
            bounds.push(Bound::floor("cooldown", current, "ChangedLately"));
        }
        if within(last_up, self.after_up_seconds) {
            bounds.push(Bound::ceiling("cooldown", current, "GrewLately"));
        }
        bounds
    }
}
