//! Runs the jobs of the [ledger](crate::ledger) on whatever instances there are.
//!
//! One task per job: it asks for a [`Place`], gives the job to that instance, follows its progress
//! and writes it down. While the task holds the place, the instance counts the job as work in
//! flight: it is what the balancer spreads and what a drain waits for.
//!
//! * An instance that does not take the job costs nothing: the next one is asked.
//! * An instance that took the job and is gone costs an attempt: the job starts again elsewhere.
//! * An instance that may have the job although somebody else gets it is told to drop it.
//! * A connection that broke is not an instance that is gone: it is asked first.

mod attempt;
mod instance;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use simulation::jobs::Tenant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::attempt::Ended;
use crate::client::Client;
use crate::clock;
use crate::ledger::{
    Event, JobId, JobSpec, JobView, Ledger, LedgerError, Outcome, Status, Submitted,
};

/// How long a job waits for any instance that takes it.
const PLACE_DEADLINE: Duration = Duration::from_secs(60);
/// Pause between two looks for one.
const PLACE_RETRY: Duration = Duration::from_millis(100);

/// An instance that may take one job. Dropping it says that the job is no longer there.
pub struct Place {
    /// The instance's id.
    pub instance: Arc<str>,
    /// Its address, as in `http://127.0.0.1:8001`.
    pub uri: String,
    /// Whatever must live as long as the job does.
    pub held: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// Chooses an instance, not one of those it is told to avoid unless there is no other.
pub type Places = Arc<dyn Fn(&[Arc<str>]) -> Option<Place> + Send + Sync>;

/// Told of every result, once, with the specification it answers.
pub type OnResult = Arc<dyn Fn(JobSpec, Outcome) -> BoxFuture<'static, ()> + Send + Sync>;

/// The running jobs. Cheap to clone; the last clone that goes stops them all.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    ledger: Arc<dyn Ledger>,
    places: Places,
    on_result: OnResult,
    client: Client,
    running: Mutex<HashMap<JobId, Arc<CancellationToken>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs")
            .field("running", &self.0.tasks.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Jobs {
    /// Runs the jobs of `ledger` at `places`.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, places: Places, on_result: OnResult) -> Self {
        Self(Arc::new(Inner {
            ledger,
            places,
            on_result,
            client: Client::default(),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// The ledger behind it.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.0.ledger
    }

    /// Submits a job and starts it on behalf of `tenant` if it is new.
    ///
    /// # Errors
    ///
    /// As [`Ledger::submit`].
    pub async fn submit(
        &self,
        id: JobId,
        spec: JobSpec,
        tenant: Tenant,
    ) -> Result<Submitted, LedgerError> {
        let submitted = self.0.ledger.submit(id, spec).await?;
        if let Submitted::New(view) = &submitted {
            self.start(view.clone(), tenant);
        }
        Ok(submitted)
    }

    /// Submits a job whose result is known already: it ends at once, without an instance.
    ///
    /// # Errors
    ///
    /// As [`Ledger::submit`].
    pub async fn submit_known(
        &self,
        id: JobId,
        spec: JobSpec,
        result: Outcome,
    ) -> Result<Submitted, LedgerError> {
        let submitted = self.0.ledger.submit(id.clone(), spec).await?;
        let Submitted::New(_) = submitted else {
            return Ok(submitted);
        };
        let view = self
            .0
            .ledger
            .record(&id, 1, Event::Finished { result })
            .await?;
        Ok(Submitted::New(view))
    }

    /// Ends a job, and the work on it.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unknown`].
    pub async fn cancel(&self, id: &JobId) -> Result<JobView, LedgerError> {
        let view = self.0.ledger.cancel(id).await?;
        if let Some(token) = self.0.running().get(id) {
            token.cancel();
        }
        Ok(view)
    }

    /// Stops all work and waits until every instance was told.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn start(&self, view: JobView, tenant: Tenant) {
        let token = Arc::new(self.0.stop.child_token());
        self.0.running().insert(view.id.clone(), Arc::clone(&token));
        // The task must not keep the owner alive: dropping the last `Jobs` stops it.
        let worker = Worker {
            ledger: Arc::clone(&self.0.ledger),
            places: Arc::clone(&self.0.places),
            on_result: Arc::clone(&self.0.on_result),
            client: self.0.client.clone(),
            tasks: self.0.tasks.clone(),
            tenant,
        };
        let owner = Arc::downgrade(&self.0);
        self.0.tasks.spawn(async move {
            let id = view.id.clone();
            worker.run(view, &token).await;
            if let Some(owner) = owner.upgrade() {
                owner.forget(&id, &token);
            }
        });
    }
}

impl Inner {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<CancellationToken>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task with this token has ended. The ledger may have forgotten its job meanwhile, and
    /// taken a new one in under the same name: that one stays.
    fn forget(&self, id: &JobId, token: &Arc<CancellationToken>) {
        let mut running = self.running();
        if running
            .get(id)
            .is_some_and(|known| Arc::ptr_eq(known, token))
        {
            running.remove(id);
        }
    }
}

/// What one task needs.
struct Worker {
    ledger: Arc<dyn Ledger>,
    places: Places,
    on_result: OnResult,
    client: Client,
    tasks: TaskTracker,
    tenant: Tenant,
}

impl Worker {
    /// Attempt after attempt until the job has ended.
    async fn run(&self, mut view: JobView, token: &CancellationToken) {
        let mut avoid = Vec::new();
        while !view.latest.status.is_final() {
            let attempt = view.latest.attempt;
            let event = match self.attempt(&view, &mut avoid, token).await {
                Ended::Stopped => return,
                Ended::With(event) => event,
            };
            let Ok(next) = self.ledger.record(&view.id, attempt, event).await else {
                return;
            };
            view = next;
        }
        if let (Status::Finished, Some(result)) = (view.latest.status, view.latest.result) {
            (self.on_result)(view.spec, result).await;
        }
    }

    /// One attempt: finds an instance that takes the job and stays with it.
    async fn attempt(
        &self,
        view: &JobView,
        avoid: &mut Vec<Arc<str>>,
        token: &CancellationToken,
    ) -> Ended {
        match self.settle(view, avoid, token).await {
            Ok(None) => Ended::Stopped,
            Ok(Some(settled)) => {
                let instance = Arc::clone(settled.instance());
                let (ended, remote) = settled.follow(self.ledger.as_ref(), view, token).await;
                if matches!(ended, Ended::With(Event::Lost { .. })) {
                    self.drop_there(remote);
                }
                *avoid = vec![instance];
                ended
            }
            Err(error) => Ended::With(Event::Failed { error }),
        }
    }

    /// Asks instances until one takes the job, or nobody wants it any more; an error is
    /// the job's own fault, or that nobody took it in time. A question under way is not cut
    /// short: an instance that takes the job has to hear that it is not wanted.
    async fn settle(
        &self,
        view: &JobView,
        avoid: &mut Vec<Arc<str>>,
        token: &CancellationToken,
    ) -> Result<Option<attempt::Settled>, Arc<str>> {
        let deadline = clock::now() + PLACE_DEADLINE;
        while !token.is_cancelled() {
            if clock::now() >= deadline {
                let seconds = PLACE_DEADLINE.as_secs();
                return Err(format!("no instance took it within {seconds} s").into());
            }
            let Some(place) = (self.places)(avoid) else {
                avoid.clear();
                let pause = tokio::time::sleep(PLACE_RETRY);
                let _stops = token.run_until_cancelled(pause).await;
                continue;
            };
            let instance = Arc::clone(&place.instance);
            let submitted =
                instance::Remote::submit(self.client.clone(), &place.uri, &view.spec, &self.tenant);
            match submitted.await {
                Ok(remote) => return Ok(Some(attempt::Settled::new(place, remote))),
                Err(instance::Refusal::Job(error)) => return Err(error),
                Err(instance::Refusal::Instance(why)) => {
                    tracing::debug!(job = %view.id, %instance, %why, "instance did not take the job");
                    avoid.push(instance);
                }
                Err(instance::Refusal::Silent(remote, why)) => {
                    tracing::debug!(job = %view.id, %instance, %why, "instance did not answer");
                    self.drop_there(*remote);
                    avoid.push(instance);
                }
            }
        }
        Ok(None)
    }

    /// Tells an instance that may have the job to drop it. The job does not wait for that: whoever
    /// did not answer may take its time now, too.
    fn drop_there(&self, remote: instance::Remote) {
        self.tasks.spawn(async move { remote.cancel().await });
    }
}
