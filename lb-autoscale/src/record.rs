//! A decision with all it was made from, to be looked at again elsewhere.
//!
//! "Why did it shrink last night?" is a question for the machine it happened on
//! only if the answer was not kept. A [`Record`] is plain data: specification,
//! state, inputs, time and answer. [`Record::replay`] decides again, today, on
//! another machine, in a debugger, and comes to the same answer bit for bit;
//! [`Record::replay_with`] tells what another specification would have done.
//! The loop keeps the last few, the admin service hands them out, and
//! `cargo run -p lb-autoscale --example replay -- FILE` replays them.
//!
//! As JSON a record needs a reader that keeps floating point numbers exact
//! (`serde_json` with its feature `float_roundtrip`, which this crate turns on).
//!
//! ```
//! use lb_autoscale::record::Record;
//! use lb_autoscale::spec::Metric;
//! use lb_autoscale::{Inputs, Observation, Spec, State, UnixMillis};
//!
//! let spec = |target| Spec::builder("api").metric(Metric::external("rps").average_value(target)).build();
//! let inputs = Inputs::new(3).observe("rps", Observation::value(480.0));
//! let mut state = State::default();
//! let record = Record::decide(&spec(100.0)?, &mut state, inputs, UnixMillis::from_secs(0));
//! assert_eq!(record.decision.desired, 5);
//!
//! let stored = serde_json::to_string(&record)?;
//! let record: Record = serde_json::from_str(&stored)?;
//! assert_eq!(record.replay(), record.decision);
//! assert_eq!(record.replay_with(&spec(60.0)?).desired, 6); // eight, but doubling is the most
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::{Decision, Inputs, Spec, State, UnixMillis, decide};

/// One decision and all it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What was wanted.
    pub spec: Spec,
    /// What was remembered before the decision.
    pub state: State,
    /// What was seen.
    pub inputs: Inputs,
    /// The time it was made for.
    pub now: UnixMillis,
    /// What came out.
    pub decision: Decision,
}

impl Record {
    /// As [`decide()`], and keeps all that went in. Costs a copy of spec and state.
    pub fn decide(spec: &Spec, state: &mut State, inputs: Inputs, now: UnixMillis) -> Self {
        let before = state.clone();
        let decision = decide(spec, state, &inputs, now);
        Self {
            spec: spec.clone(),
            state: before,
            inputs,
            now,
            decision,
        }
    }

    /// Decides again.
    #[must_use]
    pub fn replay(&self) -> Decision {
        self.replay_with(&self.spec)
    }

    /// Decides again by another specification.
    #[must_use]
    pub fn replay_with(&self, spec: &Spec) -> Decision {
        decide(spec, &mut self.state.clone(), &self.inputs, self.now)
    }
}
