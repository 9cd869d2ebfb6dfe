//! One job as a pure state machine: events of attempts go in, one gapless sequence comes out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A job is given up after this many attempts: a specification that takes its instance down must
/// not take the fleet down.
pub const MAX_ATTEMPTS: u32 = 5;

/// Smallest advance, in percent of the whole, that is worth a message.
const STEP_PERCENT: f64 = 0.5;

/// No job gives out more messages than this: per attempt 200 steps, its start and its loss, and
/// one end.
pub const MAX_MESSAGES: usize = MAX_ATTEMPTS as usize * 202 + 1;

/// A specification in its one canonical spelling, so that equal means the same job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobSpec(Arc<str>);

impl JobSpec {
    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for JobSpec {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for JobSpec {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for an instance, for the first time or again.
    Queued,
    /// An instance works on it.
    Running,
    /// Ended with a result.
    Finished,
    /// Ended with an error.
    Failed,
    /// Ended by the client.
    Cancelled,
}

impl Status {
    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

/// A result exactly as the instance wrote it: no number is parsed and printed again on the way.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Outcome(Arc<RawValue>);

impl Outcome {
    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl From<Box<RawValue>> for Outcome {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw.into())
    }
}

impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// How far one attempt is, as its instance says. Not trusted: numbers may be missing or absurd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Update {
    /// Share of the work done, 0 to 100.
    pub percent: f64,
    /// Iterations done in this attempt.
    pub iterations_done: u64,
    /// Iterations in all.
    pub iterations: u64,
    /// Speed.
    pub iterations_per_second: f64,
    /// Seconds left at this speed.
    pub eta_seconds: Option<f64>,
}

/// What happened to one attempt.
#[derive(Clone, Debug)]
pub enum Event {
    /// An instance took the job.
    Started {
        /// Its id.
        instance: Arc<str>,
    },
    /// The instance got further.
    Advanced(Update),
    /// The instance has the result.
    Finished {
        /// The result.
        result: Outcome,
    },
    /// The job itself is at fault; another attempt would end the same way.
    Failed {
        /// What went wrong.
        error: Arc<str>,
    },
    /// The instance is gone; the job waits for its next attempt.
    Lost {
        /// How that was noticed.
        why: Arc<str>,
    },
}

/// One numbered progress message, as a client receives it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// 1, 2, 3 ... over all attempts; 0 only for a job that has not said anything yet.
    pub seq: u64,
    /// 0 to 100, never less than in the message before.
    pub percent: f64,
    /// Iterations done, never less than in the message before.
    pub iterations_done: u64,
    /// Iterations in all; 0 while unknown.
    pub iterations: u64,
    /// Speed of the current attempt.
    pub iterations_per_second: f64,
    /// Seconds left; absent while unknown.
    pub eta_seconds: Option<f64>,
    /// Part of the published message format; the engine behind it is the fast one, always.
    pub ultra_engine_active: bool,
    /// Where the job stands.
    pub status: Status,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Who works on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Arc<str>>,
    /// The result, in the final message of a finished job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// What went wrong, in this attempt or for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It gave a new message.
    Message,
    /// It changed nothing: too small a step, an earlier attempt, or a job that has ended.
    Nothing,
}

/// One job with its whole history.
#[derive(Clone, Debug)]
pub struct Job {
    spec: JobSpec,
    latest: Message,
    /// Own percentage of the running attempt at its last message.
    step: f64,
    history: Vec<Message>,
}

impl Job {
    /// A job nobody works on yet.
    #[must_use]
    pub fn new(spec: JobSpec) -> Self {
        let latest = Message {
            seq: 0,
            percent: 0.0,
            iterations_done: 0,
            iterations: 0,
            iterations_per_second: 0.0,
            eta_seconds: None,
            ultra_engine_active: true,
            status: Status::Queued,
            attempt: 1,
            instance: None,
            result: None,
            error: None,
        };
        Self {
            spec,
            latest,
            step: 0.0,
            history: Vec::new(),
        }
    }

    /// What is to be computed.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Where it stands.
    #[must_use]
    pub fn latest(&self) -> &Message {
        &self.latest
    }

    /// The messages numbered above `after`; empty if there are none yet.
    #[must_use]
    pub fn after(&self, after: u64) -> &[Message] {
        let skip = usize::try_from(after)
            .unwrap_or(usize::MAX)
            .min(self.history.len());
        &self.history[skip..]
    }

    /// Folds one event of `attempt` in.
    pub fn apply(&mut self, attempt: u32, event: Event) -> Recorded {
        if self.latest.status.is_final() || attempt != self.latest.attempt {
            return Recorded::Nothing;
        }
        match event {
            Event::Started { .. } if self.latest.status == Status::Running => {
                return Recorded::Nothing;
            }
            Event::Started { instance } => self.start(instance),
            Event::Advanced(update) => return self.advance(update),
            Event::Finished { result } => self.finish(result),
            Event::Failed { error } => self.fail(error),
            Event::Lost { why } => self.lose(why),
        }
        self.say()
    }

    /// Ends the job at the client's wish.
    pub fn cancel(&mut self) -> Recorded {
        if self.latest.status.is_final() {
            return Recorded::Nothing;
        }
        self.latest.status = Status::Cancelled;
        self.stand_still();
        self.say()
    }

    fn start(&mut self, instance: Arc<str>) {
        self.latest.status = Status::Running;
        self.latest.instance = Some(instance);
        self.latest.error = None;
        self.step = 0.0;
    }

    fn advance(&mut self, update: Update) -> Recorded {
        let percent = if update.percent.is_finite() {
            update.percent.clamp(0.0, 100.0)
        } else {
            0.0
        };
        if self.latest.status != Status::Running || percent < self.step + STEP_PERCENT {
            return Recorded::Nothing;
        }
        self.step = percent;
        self.latest.percent = self.latest.percent.max(percent);
        self.latest.iterations = self.latest.iterations.max(update.iterations);
        self.latest.iterations_done = self.latest.iterations_done.max(update.iterations_done);
        self.latest.iterations_per_second = known(update.iterations_per_second).unwrap_or(0.0);
        self.latest.eta_seconds = update.eta_seconds.and_then(known);
        self.say()
    }

    fn finish(&mut self, result: Outcome) {
        self.latest.status = Status::Finished;
        self.latest.percent = 100.0;
        self.latest.iterations_done = self.latest.iterations_done.max(self.latest.iterations);
        self.latest.eta_seconds = Some(0.0);
        self.latest.result = Some(result);
    }

    fn fail(&mut self, error: Arc<str>) {
        self.latest.status = Status::Failed;
        self.latest.error = Some(error);
        self.stand_still();
    }

    /// The next attempt, unless there were too many.
    fn lose(&mut self, why: Arc<str>) {
        if self.latest.attempt == MAX_ATTEMPTS {
            return self.fail(format!("given up after {MAX_ATTEMPTS} attempts: {why}").into());
        }
        self.latest.status = Status::Queued;
        self.latest.attempt += 1;
        self.latest.instance = None;
        self.latest.error = Some(why);
        self.stand_still();
    }

    fn stand_still(&mut self) {
        self.latest.iterations_per_second = 0.0;
        self.latest.eta_seconds = None;
    }

    fn say(&mut self) -> Recorded {
        self.latest.seq += 1;
        self.history.push(self.latest.clone());
        Recorded::Message
    }
}

/// A number that means something: not NaN, not infinite, not negative.
fn known(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}
