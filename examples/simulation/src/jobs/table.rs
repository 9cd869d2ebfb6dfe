//! Which jobs are known: the active ones exactly, the ended ones for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_cache::{Local, TieredCache};

use super::{Job, JobId, Limits};

/// Active jobs, and the last ended ones.
pub(super) struct Table {
    active: Mutex<HashMap<JobId, Arc<Job>>>,
    ended: TieredCache<JobId, Job>,
}

/// A place for one more active job.
pub(super) enum Place {
    /// The id is taken by this job.
    Taken(Arc<Job>),
    /// The job is in.
    New(Arc<Job>),
    /// So many are active.
    Full(usize),
}

impl Table {
    pub(super) fn new(limits: &Limits) -> Self {
        let ended = TieredCache::builder("ended-jobs")
            .local(Local::ttl(limits.remembered.max(1), limits.remembered_for))
            .jitter(0.0)
            .build()
            .expect("invariant: the name is valid and the sizes are not zero");
        Self {
            active: Mutex::default(),
            ended,
        }
    }

    pub(super) fn find(&self, id: &JobId) -> Option<Arc<Job>> {
        // Active first: a job is among the ended before it leaves the active.
        let active = self.lock().get(id).cloned();
        active.or_else(|| self.ended.get_if_local(id))
    }

    /// Takes `job` in, if its id is free and fewer than `most` are active.
    pub(super) fn enter(&self, job: Arc<Job>, most: usize) -> Place {
        let mut active = self.lock();
        let known = active.get(job.id()).cloned();
        if let Some(known) = known.or_else(|| self.ended.get_if_local(job.id())) {
            return Place::Taken(known);
        }
        if active.len() >= most {
            return Place::Full(active.len());
        }
        active.insert(job.id().clone(), Arc::clone(&job));
        Place::New(job)
    }

    /// The job has ended: remembers it for a while.
    pub(super) async fn retire(&self, job: &Arc<Job>) {
        if let Err(error) = self.ended.insert(job.id().clone(), Arc::clone(job)).await {
            tracing::warn!(id = %job.id(), %error, "an ended job is not remembered");
        }
        self.lock().remove(job.id());
    }

    pub(super) fn publish_metrics(&self) {
        self.ended.publish_metrics();
    }

    pub(super) fn active(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn all_active(&self) -> Vec<Arc<Job>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Job>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
