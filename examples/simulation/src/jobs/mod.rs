//! The jobs of one instance: accepted, queued, running, kept for a while.
//!
//! Everything is bounded: how many run at once, how many wait, how many ended
//! ones are remembered (the oldest are forgotten first), how long one may run.
//! Who runs next is decided by fair turns between tenants, see [`gpu`](crate::gpu).
//! The engine works on threads of its own; async code only watches.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use montecarlo::engine::CpuEngine;
//! use simulation::jobs::{JobId, Jobs, Limits, Submitted};
//!
//! let jobs = Jobs::new(CpuEngine::new(1), Limits::default());
//! let spec = serde_json::from_str(
//!     r#"{"inputs": {"x": {"distribution": "normal", "mean": 0, "std_dev": 1}},
//!         "formula": "x", "iterations": 1000, "seed": 1}"#,
//! ).unwrap();
//! let id = JobId::parse("first").unwrap();
//! assert_eq!(jobs.submit(&id, &spec).unwrap(), Submitted::Accepted);
//! assert_eq!(jobs.submit(&id, &spec).unwrap(), Submitted::Known);
//! let job = jobs.find(&id).unwrap();
//! job.wait_for_end().await;
//! assert_eq!(job.log().latest().percent, 100.0);
//! # });
//! ```

mod id;
mod job;
mod runner;
mod table;
mod tenant;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use id::JobId;
pub use job::Job;
pub use tenant::Tenant;

use crate::gpu::Gpus;
use montecarlo::engine::Engine;
use montecarlo::spec::{Plan, Spec, SpecError};
use table::{Place, Table};

/// What an instance takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that run at the same time. Default: 2.
    pub running: usize,
    /// Jobs that wait for their turn. Default: 64.
    pub queued: usize,
    /// Ended jobs that are remembered; the least recently read go first. Default: 1000.
    pub remembered: u64,
    /// How long they are. Default: 5 minutes.
    pub remembered_for: Duration,
    /// How long one job may run. Default: 30 minutes.
    pub run_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running: 2,
            queued: 64,
            remembered: 1_000,
            remembered_for: Duration::from_mins(5),
            run_time: Duration::from_mins(30),
        }
    }
}

/// Whether a submission was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It was.
    Accepted,
    /// The same job is known already.
    Known,
}

/// Why a submission was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The specification is not in order.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The id belongs to a job with another specification.
    #[error("this id belongs to a job with another specification")]
    Conflict,
    /// As many jobs wait as may wait.
    #[error("{queued} jobs are waiting, no more are accepted")]
    Full {
        /// Jobs waiting.
        queued: usize,
    },
    /// The instance is going away.
    #[error("this instance is shutting down")]
    Draining,
    /// The instance cannot work.
    #[error("the GPUs of this instance are lost")]
    Unfit,
}

/// All jobs of one instance. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<dyn Engine>,
    limits: Limits,
    table: Table,
    gpus: Gpus,
    tasks: TaskTracker,
}

// === impl Jobs ===

impl Jobs {
    /// No jobs yet, and no GPU.
    pub fn new(engine: impl Engine, limits: Limits) -> Self {
        Self::on(Gpus::none(limits.running as u32), engine, limits)
    }

    /// No jobs yet; each one will wait for its turn on `gpus`.
    pub fn on(gpus: Gpus, engine: impl Engine, limits: Limits) -> Self {
        let shared = Shared {
            engine: Arc::new(engine),
            limits,
            table: Table::new(&limits),
            gpus,
            tasks: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes a job of nobody in particular on, as [`submit_for`](Self::submit_for).
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn submit(&self, id: &JobId, spec: &Spec) -> Result<Submitted, SubmitError> {
        self.submit_for(Tenant::default(), id, spec)
    }

    /// Takes a job on. Submitting the same again changes nothing, whoever does
    /// it. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn submit_for(
        &self,
        tenant: Tenant,
        id: &JobId,
        spec: &Spec,
    ) -> Result<Submitted, SubmitError> {
        if let Some(known) = self.find(id) {
            return same(&known, spec);
        }
        let job = Job::new(id.clone(), tenant, Plan::new(spec)?);
        // A drain that begins from here on waits for this submission, too.
        let _counted = self.shared.tasks.token();
        if self.shared.tasks.is_closed() {
            return Err(SubmitError::Draining);
        }
        if !self.shared.gpus.signal().fit {
            return Err(SubmitError::Unfit);
        }
        let Limits {
            running, queued, ..
        } = self.shared.limits;
        match self.shared.table.enter(job, running + queued) {
            Place::Taken(known) => same(&known, spec),
            Place::Full(active) => Err(SubmitError::Full {
                queued: active - running,
            }),
            Place::New(job) => {
                let run = runner::drive(Arc::clone(&self.shared), job);
                self.shared.tasks.spawn(run);
                Ok(Submitted::Accepted)
            }
        }
    }

    /// The job with this id, if it is remembered.
    #[must_use]
    pub fn find(&self, id: &JobId) -> Option<Arc<Job>> {
        self.shared.table.find(id)
    }

    /// Jobs that run or wait.
    #[must_use]
    pub fn active(&self) -> usize {
        self.shared.table.active()
    }

    /// How many jobs may run at the same time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.limits.running
    }

    /// Hands the numbers of the memory of ended jobs to the metrics recorder: call it when scraped.
    pub fn publish_metrics(&self) {
        self.shared.table.publish_metrics();
    }

    /// Accepts no more jobs and resolves when the last one has ended.
    pub async fn drain(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Stops every job that has not ended.
    pub fn cancel_all(&self) {
        for job in self.shared.table.all_active() {
            job.cancel();
        }
    }
}

fn same(known: &Job, spec: &Spec) -> Result<Submitted, SubmitError> {
    if known.spec() == spec {
        Ok(Submitted::Known)
    } else {
        Err(SubmitError::Conflict)
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs")
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
