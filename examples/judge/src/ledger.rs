//! The judge's own books: what was sent, what came back, what is missing.
//!
//! ```
//! use judge::ledger::{Kind, Ledger};
//! use judge::phases::Phase;
//!
//! let mut ledger = Ledger::default();
//! ledger.requests.sent += 1;
//! ledger.lose(Phase::Planned, Kind::Request, "POST /simulate: 502");
//! assert_eq!(ledger.losses_total(), 1);
//! assert!(!ledger.verdict().ok);
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::phases::Phase;
use crate::verdict::Verdict;

/// Losses that are kept word by word; the others are counted.
const MAX_KEPT: usize = 50;

/// What was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A request that was not answered with success in time.
    Request,
    /// A stream that ended early, without a crash to excuse it.
    Interrupted,
    /// A number that never came.
    Gap,
    /// A number that came twice or out of order.
    Duplicate,
    /// A percentage that went back.
    PercentFell,
    /// A job that began anew, without a crash to excuse it.
    Replayed,
    /// A job without a result, or with a wrong final state.
    NoResult,
    /// Two results for one specification and seed.
    DifferentResult,
    /// A message that does not keep the contract.
    Contract,
    /// Something that had not ended when the time was over.
    Unfinished,
}

/// One loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The phase in which it was noticed.
    pub phase: Phase,
    /// What was lost.
    pub kind: Kind,
    /// Where, in words.
    pub what: String,
}

/// Requests of the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Begun.
    pub sent: u64,
    /// Answered with success.
    pub answered: u64,
    /// Sent once more during a crash.
    pub retried: u64,
    /// Not idempotent, and open at the moment of a crash.
    pub excused: u64,
}

/// Jobs of the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Jobs {
    /// Accepted.
    pub submitted: u64,
    /// Ended with a result.
    pub finished: u64,
    /// Of these, with more than one attempt.
    pub replayed: u64,
    /// Progress messages received.
    pub messages: u64,
    /// Times the judge left a progress stream and came back.
    pub left_and_resumed: u64,
    /// Progress streams broken by a crash and resumed.
    pub broken_and_resumed: u64,
}

/// Tunnels of the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tunnels {
    /// Begun.
    pub opened: u64,
    /// Brought to their last tick.
    pub completed: u64,
    /// Ticks received.
    pub ticks: u64,
    /// Broken by a crash and resumed.
    pub broken_and_resumed: u64,
}

/// Everything sent and received.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Requests.
    pub requests: Requests,
    /// Jobs.
    pub jobs: Jobs,
    /// Tunnels.
    pub tunnels: Tunnels,
    /// Answers by the instance that gave them.
    pub instances: BTreeMap<String, u64>,
    results: BTreeMap<u64, Value>,
    losses: Vec<Loss>,
    by_kind: BTreeMap<Kind, u64>,
}

impl Ledger {
    /// Writes a loss down.
    pub fn lose(&mut self, phase: Phase, kind: Kind, what: impl Into<String>) {
        *self.by_kind.entry(kind).or_default() += 1;
        if self.losses.len() < MAX_KEPT {
            let what = what.into();
            self.losses.push(Loss { phase, kind, what });
        }
    }

    /// Compares a result with the first one that the same seed gave; `false` if
    /// they differ.
    pub fn same_result(&mut self, seed: u64, result: &Value) -> bool {
        self.results.entry(seed).or_insert_with(|| result.clone()) == result
    }

    /// An instance gave an answer. Counts at most a hundred names.
    pub fn answered_by(&mut self, instance: &str) {
        if self.instances.len() < 100 || self.instances.contains_key(instance) {
            *self.instances.entry(instance.to_owned()).or_default() += 1;
        }
    }

    /// Losses so far.
    #[must_use]
    pub fn losses_total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// The verdict on everything so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict {
            ok: self.losses_total() == 0,
            losses_total: self.losses_total(),
            losses_by_kind: self.by_kind.clone(),
            losses: self.losses.clone(),
            requests: self.requests.clone(),
            jobs: self.jobs.clone(),
            tunnels: self.tunnels.clone(),
            instances: self.instances.clone(),
        }
    }
}
