//! What is remembered between decisions.
//!
//! Plain data: store it, and a restarted process goes on where the old one
//! stopped, with its windows, its rate limits and its overrides; replay it, and
//! every decision comes out bit for bit as it did.
//!
//! ```
//! use lb_autoscale::State;
//!
//! let state = State::default();
//! let stored = serde_json::to_string(&state)?;
//! assert_eq!(serde_json::from_str::<State>(&stored)?, state);
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::UnixMillis;
use crate::decision::{Stage, Trace};
use crate::hpa::History;
use crate::policy::{Memory, Override, OverrideError};

/// The memory of one autoscaler. The default one has never decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Proposals and changes, as Kubernetes remembers them.
    pub history: History,
    pub(crate) memory: Memory,
    /// The latest time seen.
    pub(crate) latest: Option<UnixMillis>,
}

impl State {
    /// A memory that starts from a known history.
    #[must_use]
    pub fn with_history(history: History) -> Self {
        Self {
            history,
            ..Self::default()
        }
    }

    /// Puts a human's word in force from the next decision on; it replaces an earlier one.
    ///
    /// # Errors
    ///
    /// [`OverrideError`] if it is anonymous, ends in the past, or lasts too long.
    pub fn set_override(&mut self, manual: Override, now: UnixMillis) -> Result<(), OverrideError> {
        self.force_override(manual.checked(now)?);
        Ok(())
    }

    /// An override that was checked already.
    pub(crate) fn force_override(&mut self, manual: Override) {
        self.memory.manual = Some(manual);
    }

    /// Ends an override early; returns it.
    pub fn clear_override(&mut self) -> Option<Override> {
        self.memory.manual.take()
    }

    /// The override that is in force or not yet noticed to have expired.
    #[must_use]
    pub fn current_override(&self) -> Option<&Override> {
        self.memory.manual.as_ref()
    }

    /// Takes back that a change was made, but not that it was proposed: it was not carried out.
    pub(crate) fn undo_change(&mut self, before: &Self) {
        self.history.scale_ups.clone_from(&before.history.scale_ups);
        self.history
            .scale_downs
            .clone_from(&before.history.scale_downs);
        self.memory.last_up = before.memory.last_up;
        self.memory.last_down = before.memory.last_down;
    }

    /// Time never runs backwards for the engine.
    pub(crate) fn advance(&mut self, now: UnixMillis, trace: &mut Trace) -> UnixMillis {
        let latest = self.latest.map_or(now, |latest| latest.max(now));
        if latest > now {
            let behind = latest.since(now).as_secs_f64();
            trace.step(
                Stage::Time,
                "clock",
                (0, 0),
                "TimeWentBackwards",
                &[("seconds", behind)],
            );
        }
        self.latest = Some(latest);
        latest
    }
}
