//! One job: what it computes, how far it is, how to stop it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{JobId, Tenant};
use crate::clock::now;
use crate::progress::{Log, Outcome};
use montecarlo::engine::Control;
use montecarlo::spec::{Plan, Spec};

/// One job of this instance.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    tenant: Tenant,
    plan: Plan,
    control: Control,
    stop: CancellationToken,
    log: Mutex<Log>,
    changed: watch::Sender<()>,
}

impl Job {
    pub(super) fn new(id: JobId, tenant: Tenant, plan: Plan) -> Arc<Self> {
        let log = Log::new(plan.spec().iterations);
        Arc::new(Self {
            id,
            tenant,
            plan,
            control: Control::default(),
            stop: CancellationToken::new(),
            log: Mutex::new(log),
            changed: watch::Sender::new(()),
        })
    }

    /// Its id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// On whose behalf it runs.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// What was asked for.
    pub fn spec(&self) -> &Spec {
        self.plan.spec()
    }

    /// Its progress. Do not hold the guard longer than it takes to read.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the log has grown.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Asks the job to stop. It ends shortly afterwards, if it has not yet.
    pub fn cancel(&self) {
        self.control.cancel();
        self.stop.cancel();
    }

    /// Resolves when nothing more will happen to the job.
    pub async fn wait_for_end(&self) {
        let mut changes = self.changes();
        while self.log().outcome().is_none() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn control(&self) -> &Control {
        &self.control
    }

    pub(super) async fn cancelled(&self) {
        self.stop.cancelled().await;
    }

    pub(super) fn start(&self) {
        self.log().start(now());
        self.changed.send_replace(());
    }

    pub(super) fn observe(&self) {
        if self.log().observe(self.control.done(), now()) {
            self.changed.send_replace(());
        }
    }

    pub(super) fn end(&self, outcome: Outcome) {
        self.log().end(outcome, self.control.done(), now());
        self.changed.send_replace(());
    }
}
