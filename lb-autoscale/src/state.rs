//! What is remembered between decisions.
//!
//! Plain data: store it, and a restarted process goes on where the old one
//! stopped, with its windows, its rate limits and its overrides; replay it, and
//! every decision comes out bit for bit as it did. A clock that is set back takes
//! windows and pauses along, so that they go on where they were; the end of an
//! override is a date and stays.
//!
//! ```
//! use lb_autoscale::State;
//!
//! let state = State::default();
//! let stored = serde_json::to_string(&state)?;
//! assert_eq!(serde_json::from_str::<State>(&stored)?, state);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::time::Duration;

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
    pub(crate) fn undo_change(&mut self, mut before: Self) {
        before.follow(self.latest);
        self.history.scale_ups = before.history.scale_ups;
        self.history.scale_downs = before.history.scale_downs;
        self.memory.last_up = before.memory.last_up;
        self.memory.last_down = before.memory.last_down;
    }

    /// It is `now`, whatever was the time before.
    pub(crate) fn advance(&mut self, now: UnixMillis, trace: &mut Trace) {
        let back = self.follow(Some(now));
        if !back.is_zero() {
            let numbers = [("seconds", back.as_secs_f64())];
            trace.step(Stage::Time, "clock", (0, 0), "TimeWentBackwards", &numbers);
        }
    }

    /// A clock that was set back must not stop the time of windows, rates and pauses until it has caught up: what is
    /// remembered goes back with it, as if no time had passed. Returns how far.
    fn follow(&mut self, now: Option<UnixMillis>) -> Duration {
        let latest = std::mem::replace(&mut self.latest, now);
        let back = latest
            .zip(now)
            .map_or(Duration::ZERO, |(latest, now)| latest.since(now));
        if !back.is_zero() {
            self.history.move_back(back);
            self.memory.move_back(back);
        }
        back
    }
}
