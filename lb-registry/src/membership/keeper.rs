//! The task that keeps a registration alive.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::member::Standing;
use crate::backoff::{Backoff, jitter};
use crate::{Registration, Registry, RegistryError, Status, observe};

/// An attempt that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far heartbeats stray from a third of the TTL.
const JITTER: f64 = 0.1;

pub(super) struct Keeper<R> {
    pub(super) registry: R,
    pub(super) registration: Arc<Registration>,
    pub(super) backoff: Backoff,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) status: watch::Receiver<Status>,
    /// Whether it takes nothing new, which a registry forgets with everything else.
    pub(super) draining: watch::Receiver<bool>,
}

/// What the registry is told with a drain.
pub(super) const REASON: &str = "shutting down";

impl<R: Registry> Keeper<R> {
    /// Registers, then beats until the registry forgets, and so on until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            self.register().await;
            self.beat().await;
        }
    }

    async fn register(&self) {
        let mut failures = 0;
        loop {
            let Err(error) = self.try_register().await else {
                observe::registered(&self.registration.instance.service);
                self.standing.send_replace(Standing::Registered);
                return;
            };
            let id = &self.registration.instance.id;
            tracing::warn!(
                id,
                failures,
                error = &error as &dyn std::error::Error,
                "not registered yet"
            );
            observe::registration_failed(&self.registration.instance.service);
            tokio::time::sleep(self.backoff.delay(failures, fastrand::u64(..))).await;
            failures = failures.saturating_add(1);
        }
    }

    async fn try_register(&self) -> Result<(), RegistryError> {
        within(self.registry.register(&self.registration)).await?;
        // Looked at last: a drain that begins now finds the registration there.
        let draining = *self.draining.borrow();
        let id = &self.registration.instance.id;
        match draining {
            true => within(self.registry.set_draining(id, Some(REASON))).await,
            false => Ok(()),
        }
    }

    /// Heartbeats, until the registry says that it does not know the instance.
    async fn beat(&mut self) {
        let id = &self.registration.instance.id;
        loop {
            let pause = jitter(self.registration.ttl / 3, JITTER, fastrand::u64(..));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = self.status.changed() => {}
            }
            let status = *self.status.borrow_and_update();
            match within(self.registry.heartbeat(id, status, status.as_str())).await {
                Ok(()) => drop(self.standing.send_replace(Standing::Registered)),
                Err(RegistryError::Unknown { .. }) => {
                    tracing::warn!(
                        id,
                        "the registry has forgotten this instance; registering again"
                    );
                    self.standing.send_replace(Standing::Joining);
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        id,
                        error = &error as &dyn std::error::Error,
                        "heartbeat failed"
                    );
                    observe::heartbeat_failed(&self.registration.instance.service);
                    self.standing.send_replace(Standing::Unreachable);
                }
            }
        }
    }
}

/// The answer, or that there was none in time.
pub(super) async fn within<T>(
    asked: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(late) => Err(RegistryError::Unreachable(late.into())),
    }
}
