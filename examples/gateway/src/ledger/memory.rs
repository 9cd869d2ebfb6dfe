//! The ledger of one process: bounded, and gone with it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;

use super::{
    Event, Job, JobId, JobSpec, JobView, Ledger, LedgerError, Message, Recorded, Submitted,
};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs in all; the longest-ended one makes room for a new one. Default: 2,048.
    pub jobs: usize,
    /// Jobs that have not ended; one more is refused. Default: 256.
    pub active: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs: 2_048,
            active: 256,
        }
    }
}

/// Keeps jobs in memory. One short lock per call, none while anybody waits.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    limits: Limits,
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    by_id: HashMap<JobId, Arc<Cell>>,
    /// In the order of submission.
    order: VecDeque<JobId>,
    /// In the order of their end: who makes room next.
    ended: VecDeque<JobId>,
}

#[derive(Debug)]
struct Cell {
    id: JobId,
    job: Mutex<Job>,
    /// The newest number, for those who follow.
    newest: watch::Sender<u64>,
}

impl MemoryLedger {
    /// An empty ledger. At least one job is always allowed.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let jobs = limits.jobs.max(1);
        let limits = Limits {
            jobs,
            active: limits.active.clamp(1, jobs),
        };
        Self {
            limits,
            jobs: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, id: &JobId) -> Result<Arc<Cell>, LedgerError> {
        self.lock()
            .by_id
            .get(id)
            .cloned()
            .ok_or(LedgerError::Unknown)
    }

    fn change(
        &self,
        id: &JobId,
        change: impl FnOnce(&mut Job) -> Recorded,
    ) -> Result<JobView, LedgerError> {
        let cell = self.cell(id)?;
        let (view, ended) = cell.change(change);
        if ended {
            self.lock().ended.push_back(id.clone());
        }
        Ok(view)
    }
}

impl Jobs {
    fn submit(
        &mut self,
        id: JobId,
        spec: JobSpec,
        limits: Limits,
    ) -> Result<Submitted, LedgerError> {
        if let Some(cell) = self.by_id.get(&id) {
            let view = cell.view();
            return if view.spec == spec {
                Ok(Submitted::Known(view))
            } else {
                Err(LedgerError::Conflict)
            };
        }
        if self.active() >= limits.active {
            return Err(LedgerError::Full {
                limit: limits.active,
            });
        }
        if self.by_id.len() >= limits.jobs {
            self.make_room();
        }
        let cell = Cell {
            id: id.clone(),
            job: Mutex::new(Job::new(spec)),
            newest: watch::Sender::new(0),
        };
        let view = cell.view();
        self.order.push_back(id.clone());
        self.by_id.insert(id, Arc::new(cell));
        Ok(Submitted::New(view))
    }

    /// Forgets the longest-ended job. Linear in the number of jobs, once per submit at most.
    fn make_room(&mut self) {
        if let Some(oldest) = self.ended.pop_front() {
            self.order.retain(|id| *id != oldest);
            self.by_id.remove(&oldest);
        }
    }

    fn active(&self) -> usize {
        self.by_id.len() - self.ended.len()
    }
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> JobView {
        let job = self.lock();
        JobView {
            id: self.id.clone(),
            spec: job.spec().clone(),
            latest: job.latest().clone(),
        }
    }

    /// Changes the job; also says whether this very change ended it.
    fn change(&self, change: impl FnOnce(&mut Job) -> Recorded) -> (JobView, bool) {
        let mut job = self.lock();
        let said = change(&mut job) == Recorded::Message;
        let latest = job.latest().clone();
        let view = JobView {
            id: self.id.clone(),
            spec: job.spec().clone(),
            latest,
        };
        drop(job);
        if said {
            self.newest.send_replace(view.latest.seq);
        }
        let ended = said && view.latest.status.is_final();
        (view, ended)
    }

    fn follow(self: Arc<Self>, after: u64) -> Result<BoxStream<'static, Message>, LedgerError> {
        let (newest, ended) = {
            let job = self.lock();
            (job.latest().seq, job.latest().status.is_final())
        };
        if after > newest {
            return Err(LedgerError::Ahead { after, newest });
        }
        if ended && after == newest {
            // Nothing will follow, so nobody may wait for it.
            return Ok(stream::empty().boxed());
        }
        let changes = self.newest.subscribe();
        let cursor = Some((self, changes, after));
        Ok(stream::unfold(cursor, next).boxed())
    }
}

type Cursor = (Arc<Cell>, watch::Receiver<u64>, u64);

/// The message after the cursor, as soon as there is one; then the cursor, unless that was the end.
async fn next(cursor: Option<Cursor>) -> Option<(Message, Option<Cursor>)> {
    let (cell, mut changes, after) = cursor?;
    changes.wait_for(|newest| *newest > after).await.ok()?;
    let message = cell.lock().after(after).first().cloned()?;
    let rest = (!message.status.is_final()).then_some((cell, changes, message.seq));
    Some((message, rest))
}

// === impl Ledger ===

impl Ledger for MemoryLedger {
    fn submit(&self, id: JobId, spec: JobSpec) -> BoxFuture<'_, Result<Submitted, LedgerError>> {
        ready(self.lock().submit(id, spec, self.limits)).boxed()
    }

    fn record<'a>(
        &'a self,
        id: &'a JobId,
        attempt: u32,
        event: Event,
    ) -> BoxFuture<'a, Result<JobView, LedgerError>> {
        ready(self.change(id, |job| job.apply(attempt, event))).boxed()
    }

    fn cancel<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<JobView, LedgerError>> {
        ready(self.change(id, Job::cancel)).boxed()
    }

    fn view<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Option<JobView>> {
        ready(self.cell(id).ok().map(|cell| cell.view())).boxed()
    }

    fn follow<'a>(
        &'a self,
        id: &'a JobId,
        after: u64,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Message>, LedgerError>> {
        ready(self.cell(id).and_then(|cell| cell.follow(after))).boxed()
    }

    fn newest(&self, limit: usize) -> BoxFuture<'_, Vec<JobView>> {
        let jobs = self.lock();
        let newest = jobs
            .order
            .iter()
            .rev()
            .filter_map(|id| jobs.by_id.get(id))
            .take(limit);
        ready(newest.map(|cell| cell.view()).collect()).boxed()
    }

    fn active(&self) -> usize {
        self.lock().active()
    }
}
