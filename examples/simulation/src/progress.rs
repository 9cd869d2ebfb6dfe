//! How far a job is: a numbered log that a client can resume.
//!
//! A job writes at most 103 entries: accepted, started, one for each whole per
//! cent that passes, and the end. All of them are kept as long as the job is
//! known, so a client that lost its connection names the last number it saw
//! and gets exactly what came after. A slow client delays nobody and costs no
//! memory: there is no queue per client, everyone reads the same log.
//!
//! Pure: the caller brings the time.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use simulation::progress::{Log, Outcome};
//!
//! # #[expect(clippy::disallowed_methods, reason = "an example")]
//! let start = Instant::now();
//! let mut log = Log::new(1_000);
//! log.start(start);
//! log.observe(420, start + Duration::from_secs(1));
//! log.end(Outcome::Cancelled, 430, start + Duration::from_secs(1));
//! let seen: Vec<_> = log.after(0).map(|m| (m.seq, m.percent, m.status.as_str())).collect();
//! assert_eq!(seen, [(1, 0.0, "queued"), (2, 0.0, "running"), (3, 42.0, "running"), (4, 43.0, "cancelled")]);
//! assert_eq!(log.after(3).count(), 1);
//! ```

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use montecarlo::summary::Summary;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for its turn.
    Queued,
    /// An engine is at work.
    Running,
    /// There is a result.
    Finished,
    /// There will be no result; the error says why.
    Failed,
    /// Stopped on request.
    Cancelled,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With a result.
    Finished(Arc<Summary>),
    /// Without; this is why.
    Failed(String),
    /// On request.
    Cancelled,
}

/// One progress message as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Number of the message: 1, 2, 3, … without gaps.
    pub seq: u64,
    /// 0 to 100; never falls.
    pub percent: f64,
    /// Samples drawn.
    pub iterations_done: u64,
    /// Samples to draw.
    pub iterations: u64,
    /// Samples per second since the start; 0 before it.
    pub iterations_per_second: f64,
    /// Seconds to the end at that pace; unknown before the start.
    pub eta_seconds: Option<f64>,
    /// Always true: part of the contract with existing clients.
    pub ultra_engine_active: bool,
    /// Where the job stands.
    pub status: Status,
    /// The result, in the last message of a finished job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Summary>,
    /// Why it failed, in the last message of a failed job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The numbered log of one job.
#[derive(Clone, Debug)]
pub struct Log {
    iterations: u64,
    started: Option<Instant>,
    entries: Vec<Entry>,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    status: Status,
    done: u64,
    per_second: f64,
}

// === impl Status ===

impl Status {
    /// The word in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

// === impl Log ===

impl Log {
    /// The log of a job that was accepted just now.
    #[must_use]
    pub fn new(iterations: u64) -> Self {
        let accepted = Entry {
            status: Status::Queued,
            done: 0,
            per_second: 0.0,
        };
        Self {
            iterations,
            started: None,
            entries: vec![accepted],
            outcome: None,
        }
    }

    /// The job's turn has come.
    pub fn start(&mut self, now: Instant) {
        if self.started.is_none() && self.outcome.is_none() {
            self.started = Some(now);
            self.push(Status::Running, 0, now);
        }
    }

    /// `done` samples are drawn. Writes an entry and returns `true` if another
    /// whole per cent is full.
    pub fn observe(&mut self, done: u64, now: Instant) -> bool {
        let last = self.last();
        // The hundredth belongs to the end.
        let step = |done: u64| (self.percent(done).floor() as u64).min(99);
        let passed = last.status == Status::Running && step(done) > step(last.done);
        if passed {
            self.push(Status::Running, done, now);
        }
        passed
    }

    /// The job is over. Only the first call counts.
    pub fn end(&mut self, outcome: Outcome, done: u64, now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        let (status, done) = match &outcome {
            Outcome::Finished(_) => (Status::Finished, self.iterations),
            Outcome::Failed(_) => (Status::Failed, done),
            Outcome::Cancelled => (Status::Cancelled, done),
        };
        self.outcome = Some(outcome);
        self.push(status, done, now);
    }

    /// Where the job stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.last().status
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Number of the last message.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The last message.
    #[must_use]
    pub fn latest(&self) -> Message {
        self.message(self.entries.len() - 1, self.last())
    }

    /// The messages after number `seq`.
    pub fn after(&self, seq: u64) -> impl Iterator<Item = Message> {
        let seen = usize::try_from(seq).unwrap_or(usize::MAX);
        let entries = self.entries.iter().enumerate().skip(seen);
        entries.map(|(index, entry)| self.message(index, *entry))
    }

    fn last(&self) -> Entry {
        *self
            .entries
            .last()
            .expect("invariant: a log begins with one entry")
    }

    fn percent(&self, done: u64) -> f64 {
        (done as f64 / self.iterations.max(1) as f64 * 100.0).min(100.0)
    }

    fn push(&mut self, status: Status, done: u64, now: Instant) {
        let seconds = self.started.map_or(0.0, |start| {
            now.saturating_duration_since(start).as_secs_f64()
        });
        let per_second = if seconds > 0.0 {
            done as f64 / seconds
        } else {
            0.0
        };
        let done = done.max(self.last().done);
        self.entries.push(Entry {
            status,
            done,
            per_second,
        });
    }

    fn message(&self, index: usize, entry: Entry) -> Message {
        let left = (self.iterations - entry.done.min(self.iterations)) as f64;
        let outcome = self.outcome.as_ref().filter(|_| entry.status.is_final());
        Message {
            seq: index as u64 + 1,
            percent: (self.percent(entry.done) * 10.0).floor() / 10.0,
            iterations_done: entry.done,
            iterations: self.iterations,
            iterations_per_second: entry.per_second,
            eta_seconds: (entry.per_second > 0.0).then(|| left / entry.per_second),
            ultra_engine_active: true,
            status: entry.status,
            result: match outcome {
                Some(Outcome::Finished(summary)) => Some(Summary::clone(summary)),
                _ => None,
            },
            error: match outcome {
                Some(Outcome::Failed(error)) => Some(error.clone()),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// However a job is watched: numbers without gaps, percentages that never fall, few entries.
        #[test]
        fn the_log_is_gapless_monotonic_and_short(dones in prop::collection::vec(0u64..2_000, 0..400), iterations in 1_000u64..2_000) {
            let start = crate::clock::now();
            let mut log = Log::new(iterations);
            log.start(start);
            for (n, done) in dones.iter().enumerate() {
                log.observe(*done, start + Duration::from_millis(n as u64));
            }
            log.end(Outcome::Cancelled, 0, start);
            log.observe(iterations, start);
            let messages: Vec<Message> = log.after(0).collect();
            prop_assert!(messages.len() <= 103);
            for (n, pair) in messages.windows(2).enumerate() {
                prop_assert_eq!(pair[0].seq, n as u64 + 1);
                prop_assert!(pair[0].percent <= pair[1].percent);
                prop_assert!(!pair[0].status.is_final());
            }
            prop_assert_eq!(messages.last().unwrap().status, Status::Cancelled);
        }

        /// Resuming after any number gives exactly the rest.
        #[test]
        fn resuming_gives_the_rest(steps in 0u64..50, after in 0u64..60) {
            let start = crate::clock::now();
            let mut log = Log::new(1_000);
            log.start(start);
            (0..steps).for_each(|n| { log.observe(n * 10, start); });
            let all: Vec<Message> = log.after(0).collect();
            let rest: Vec<Message> = log.after(after).collect();
            prop_assert_eq!(&all[(after as usize).min(all.len())..], &rest[..]);
        }
    }

    #[test]
    fn pace_and_remaining_time_follow_from_the_start() {
        let start = crate::clock::now();
        let mut log = Log::new(1_000);
        log.start(start);
        assert!(log.observe(250, start + Duration::from_secs(5)));
        let message = log.latest();
        assert_eq!(message.iterations_per_second, 50.0);
        assert_eq!(message.eta_seconds, Some(15.0));
        assert!(message.ultra_engine_active);
    }
}
