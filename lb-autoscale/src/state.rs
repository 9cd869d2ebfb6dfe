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

/// The memory of one autoscaler. The default one has never decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Proposals and changes, as Kubernetes remembers them.
    pub history: History,
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
