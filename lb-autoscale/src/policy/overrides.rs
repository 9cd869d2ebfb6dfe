use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;
use crate::decision::{Stage, Trace};

/// No override lasts longer; one that is needed longer belongs into the spec.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// A human's word, for a limited time. The spec's bounds still hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// What is ordered.
    pub kind: OverrideKind,
    /// Who ordered it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub expires_at: UnixMillis,
}

/// What an [`Override`] orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideKind {
    /// Exactly so many.
    Exact(u32),
    /// At least so many.
    Floor(u32),
    /// As many as there are.
    Freeze,
}

/// Why an override was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverrideError {
    /// Overrides are audited.
    #[error("an override needs an author and a reason")]
    Anonymous,
    /// It would end before it begins.
    #[error("an override must end in the future")]
    Expired,
    /// Nobody would remember it.
    #[error("an override may last 30 days at most")]
    TooLong,
}

impl Override {
    pub(crate) fn checked(self, now: UnixMillis) -> Result<Self, OverrideError> {
        self.check(now).map(|()| self)
    }

    fn check(&self, now: UnixMillis) -> Result<(), OverrideError> {
        if self.author.trim().is_empty() || self.reason.trim().is_empty() {
            return Err(OverrideError::Anonymous);
        }
        if self.expires_at <= now {
            return Err(OverrideError::Expired);
        }
        if self.expires_at > now + LONGEST {
            return Err(OverrideError::TooLong);
        }
        Ok(())
    }
}

/// The bounds of the override, which is forgotten once it has expired.
pub(super) fn in_force(
    manual: &mut Option<Override>,
    current: u32,
    now: UnixMillis,
    trace: &mut Trace,
) -> Option<Vec<Bound>> {
    if let Some(expired) = manual.take_if(|manual| manual.expires_at <= now) {
        let reason = format!("Expired: {}", expired.reason);
        trace.step(Stage::Note, "override", (current, current), reason, &[]);
    }
    let manual = manual.as_ref()?;
    let reason = format!("{} by {}", manual.reason, manual.author);
    let both = |count: u32| {
        vec![
            Bound::ceiling("override", count, reason.clone()),
            Bound::floor("override", count, reason.clone()),
        ]
    };
    Some(match manual.kind {
        OverrideKind::Exact(count) => both(count),
        OverrideKind::Freeze => both(current),
        OverrideKind::Floor(count) => vec![Bound::floor("override", count, reason)],
    })
}
