//! What the agent has to find out by itself, and what it does with the answer.

use std::time::Instant;

use super::{Catalog, CheckKind, CheckStatus};

/// A probe that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The check that asks.
    pub check: String,
    /// What to do: [`CheckKind::Http`] or [`CheckKind::Tcp`].
    pub kind: CheckKind,
    /// To be handed back with the answer.
    pub generation: u64,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state that follows.
    pub status: CheckStatus,
    /// Why.
    pub output: String,
}

impl Catalog {
    /// Takes in the answer to a probe. An answer to a check that was registered anew meanwhile is ignored.
    pub fn probed(&mut self, probe: &Probe, outcome: &Outcome, now: Instant) {
        let Some(check) = self.checks.get_mut(&probe.check) else {
            return;
        };
        if check.generation != probe.generation {
            return;
        }
        check.due = probe.kind.interval().map(|interval| now + interval);
        let status = check.weigh(outcome.status);
        self.set_status(&probe.check, status, &outcome.output, now);
    }
}
