//! The job ledger: what was asked, how far it is, and every progress number ever given out.
//!
//! A client names its job and submits it with an idempotent `PUT`. From then on the job belongs to
//! the ledger, not to the instance that happens to compute it: when that instance dies, the job is
//! computed again elsewhere as the next *attempt*, from the same specification and seed, and the
//! client's progress stream goes on where it was.
//!
//! Three promises, all kept by the pure [`Job`]:
//!
//! * sequence numbers start at 1 and have no gap, over all attempts;
//! * the percentage never goes back, although a new attempt starts at zero;
//! * exactly one message is final, and nothing follows it.
//!
//! A job gives out at most [`MAX_MESSAGES`] messages, so its whole history is kept and a client
//! can resume after any number it has seen.
//!
//! ```
//! use gateway::ledger::{Event, Job, Status};
//!
//! let mut job = Job::new("{}".into());
//! job.apply(1, Event::Started { instance: "sim-1".into() });
//! job.apply(1, Event::Lost { why: "connection reset".into() });
//! job.apply(2, Event::Started { instance: "sim-2".into() });
//! job.apply(2, Event::Finished { result: serde_json::value::to_raw_value(&42).unwrap().into() });
//! let sequence: Vec<u64> = job.after(0).iter().map(|message| message.seq).collect();
//! assert_eq!(sequence, [1, 2, 3, 4]);
//! assert_eq!(job.after(3)[0].status, Status::Finished);
//! ```
//!
//! # What it does not do
//!
//! [`MemoryLedger`] forgets everything when the process ends, and a job that had to make room for
//! newer ones is unknown: putting it again computes it again, with the same result.

mod id;
mod job;
mod memory;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::Serialize;

pub use self::id::{JobId, JobIdError};
pub use self::job::{
    Event, Job, JobSpec, MAX_ATTEMPTS, MAX_MESSAGES, Message, Outcome, Recorded, Status, Update,
};
pub use self::memory::{Limits, MemoryLedger};

/// One job as it stands now.
#[derive(Clone, Debug, Serialize)]
pub struct JobView {
    /// The client's name for it.
    pub id: JobId,
    /// Its specification, in the words of the ledger.
    #[serde(skip)]
    pub spec: JobSpec,
    /// The newest progress; before the first message: queued at zero.
    #[serde(flatten)]
    pub latest: Message,
}

/// The answer to a submit.
#[derive(Clone, Debug)]
pub enum Submitted {
    /// The job is new; whoever submitted it now has to run it.
    New(JobView),
    /// The same job was submitted before; nothing has to be done.
    Known(JobView),
}

/// Keeps jobs. In memory by default; a shared store lets several gateways serve one job.
///
/// Every method may wait for a store. None of them is on the path of a proxied request.
pub trait Ledger: std::fmt::Debug + Send + Sync + 'static {
    /// Takes a job in, or finds it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Conflict`] if the id stands for another specification, [`LedgerError::Full`]
    /// if there is room for no further unfinished job.
    fn submit(&self, id: JobId, spec: JobSpec) -> BoxFuture<'_, Result<Submitted, LedgerError>>;

    /// Folds what happened in `attempt` into the job. Late news of an earlier attempt, or about
    /// a job that has ended, changes nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unknown`].
    fn record<'a>(
        &'a self,
        id: &'a JobId,
        attempt: u32,
        event: Event,
    ) -> BoxFuture<'a, Result<JobView, LedgerError>>;

    /// Ends a job at the client's wish, in whatever attempt it is.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unknown`].
    fn cancel<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<JobView, LedgerError>>;

    /// One job, or nothing.
    fn view<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Option<JobView>>;

    /// Every message with a number greater than `after`, those to come included. The stream ends
    /// after the final one.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unknown`]; [`LedgerError::Ahead`] if `after` was never given out.
    fn follow<'a>(
        &'a self,
        id: &'a JobId,
        after: u64,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Message>, LedgerError>>;

    /// At most `limit` jobs, the newest first.
    fn newest(&self, limit: usize) -> BoxFuture<'_, Vec<JobView>>;

    /// How many jobs have not ended: the load that a fleet is sized for.
    fn active(&self) -> usize;
}

/// Why the ledger says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// No such job, or it had to make room for newer ones.
    #[error("no such simulation")]
    Unknown,
    /// The id stands for another specification.
    #[error("this id belongs to a simulation with another specification")]
    Conflict,
    /// Too many jobs have not ended.
    #[error("{limit} simulations are unfinished, which is the limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The client claims to have seen a number that was never given out.
    #[error("number {after} was never given out, the newest is {newest}")]
    Ahead {
        /// What the client asked for.
        after: u64,
        /// The newest number of this job.
        newest: u64,
    },
}
