//! Which jobs are known, and which are forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Job, JobId};

/// Active jobs, and the last ended ones.
#[derive(Debug)]
pub(super) struct Table {
    jobs: HashMap<JobId, Arc<Job>>,
    /// Ended jobs, oldest first.
    ended: VecDeque<JobId>,
    remembered: usize,
}

impl Table {
    pub(super) fn new(remembered: usize) -> Self {
        Self {
            jobs: HashMap::new(),
            ended: VecDeque::new(),
            remembered,
        }
    }

    pub(super) fn insert(&mut self, job: Arc<Job>) -> Arc<Job> {
        self.jobs.insert(job.id().clone(), Arc::clone(&job));
        job
    }

    pub(super) fn find(&self, id: &JobId) -> Option<Arc<Job>> {
        self.jobs.get(id).cloned()
    }

    pub(super) fn active(&self) -> usize {
        self.jobs.len() - self.ended.len()
    }

    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs
            .values()
            .filter(|job| job.log().outcome().is_none())
    }

    /// The job has ended: remembers it for a while, and forgets the oldest.
    pub(super) fn retire(&mut self, id: &JobId) {
        self.ended.push_back(id.clone());
        while self.ended.len() > self.remembered {
            if let Some(oldest) = self.ended.pop_front() {
                self.jobs.remove(&oldest);
            }
        }
    }
}
