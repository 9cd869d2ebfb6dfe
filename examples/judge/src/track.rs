//! Checks of numbered sequences: one job's progress, one tunnel's ticks.
//!
//! ```
//! use judge::ledger::Kind;
//! use judge::track::Ticks;
//!
//! let mut ticks = Ticks::new(3);
//! assert_eq!(ticks.observe(1), None);
//! assert_eq!(ticks.observe(3), Some(Kind::Gap));
//! assert_eq!(ticks.observe(3), Some(Kind::Duplicate));
//! assert!(ticks.is_complete());
//! ```

use serde::Deserialize;
use serde_json::Value;

use crate::ledger::Kind;

/// A progress message, as far as the judge cares.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// Its number.
    pub seq: u64,
    /// How far the job is.
    pub percent: f64,
    /// Part of the contract: always true.
    pub ultra_engine_active: bool,
    /// queued, running, finished, failed or cancelled.
    pub status: String,
    /// Attempt of the job; 1 unless it was replayed.
    #[serde(default = "first")]
    pub attempt: u32,
    /// In the last message of a finished job.
    #[serde(default)]
    pub result: Option<Value>,
}

fn first() -> u32 {
    1
}

/// One job's progress.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    seen: u64,
    percent: f64,
    attempt: u32,
    result: Option<Value>,
    ended: bool,
}

impl Progress {
    /// Takes a message and returns everything that is wrong with it.
    pub fn observe(&mut self, message: &Message) -> Vec<Kind> {
        let mut wrong = Vec::new();
        match message.seq {
            seq if seq > self.seen + 1 => wrong.push(Kind::Gap),
            // What else is wrong with it was said the first time.
            seq if seq <= self.seen => return vec![Kind::Duplicate],
            _ => {}
        }
        if message.percent.is_nan() || message.percent < self.percent {
            wrong.push(Kind::PercentFell);
        }
        let known = ["queued", "running", "finished", "failed", "cancelled"];
        if !message.ultra_engine_active
            || !(0.0..=100.0).contains(&message.percent)
            || !known.contains(&message.status.as_str())
            || self.ended
        {
            wrong.push(Kind::Contract);
        }
        self.seen = self.seen.max(message.seq);
        self.percent = self.percent.max(message.percent);
        self.attempt = self.attempt.max(message.attempt);
        if matches!(message.status.as_str(), "finished" | "failed" | "cancelled") {
            self.ended = true;
            self.result.clone_from(&message.result);
            let complete = message.status == "finished" && message.percent == 100.0;
            if !complete || message.result.is_none() {
                wrong.push(Kind::NoResult);
            }
        }
        wrong
    }

    /// Number of the last message.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Attempts so far.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the final message has come.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ended
    }

    /// The result, once it has come.
    #[must_use]
    pub fn result(&self) -> Option<&Value> {
        self.result.as_ref()
    }
}

/// One tunnel's ticks: 1, 2, 3, … up to a last one.
#[derive(Clone, Debug)]
pub struct Ticks {
    seen: u64,
    last: u64,
}

impl Ticks {
    /// A tunnel of `count` ticks.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self {
            seen: 0,
            last: count,
        }
    }

    /// Takes a tick and returns what is wrong with it.
    pub fn observe(&mut self, tick: u64) -> Option<Kind> {
        let wrong = match tick {
            tick if tick <= self.seen => Some(Kind::Duplicate),
            tick if tick > self.last => Some(Kind::Contract),
            tick if tick > self.seen + 1 => Some(Kind::Gap),
            _ => None,
        };
        self.seen = self.seen.max(tick);
        wrong
    }

    /// Number of the last tick.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Ticks still to come.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.last.saturating_sub(self.seen)
    }

    /// Whether the last tick has come.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(seq: u64, percent: f64) -> Message {
        Message {
            seq,
            percent,
            ultra_engine_active: true,
            status: "running".into(),
            attempt: 1,
            result: None,
        }
    }

    proptest! {
        /// Taking one message out of a good sequence, doubling it or lowering it is always noticed.
        #[test]
        fn every_single_fault_is_noticed(length in 3u64..50, at in 1u64..49, fault in 0u8..3) {
            let at = at.min(length - 2) as usize;
            let mut messages: Vec<Message> = (1..=length).map(|n| message(n, n as f64)).collect();
            let expected = match fault {
                0 => { messages.remove(at); Kind::Gap }
                1 => { messages.insert(at, messages[at].clone()); Kind::Duplicate }
                _ => { messages[at].percent = messages[at - 1].percent - 0.5; Kind::PercentFell }
            };
            let mut progress = Progress::default();
            let wrong: Vec<Kind> = messages.iter().flat_map(|m| progress.observe(m)).collect();
            prop_assert_eq!(wrong, [expected]);
        }
    }

    #[test]
    fn a_percentage_that_is_no_number_is_noticed() {
        let wrong = Progress::default().observe(&message(1, f64::NAN));
        assert_eq!(wrong, [Kind::PercentFell, Kind::Contract]);
    }

    #[test]
    fn an_end_without_a_result_is_noticed() {
        for status in ["finished", "failed", "cancelled"] {
            let end = Message {
                status: status.into(),
                ..message(1, 100.0)
            };
            assert_eq!(Progress::default().observe(&end), [Kind::NoResult]);
        }
    }
}
