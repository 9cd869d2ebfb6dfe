//! The handle of a registration.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Membership;
use super::keeper::{Keeper, REASON, within};
use crate::watch::AbortOnDrop;
use crate::{Instance, Registration, Registry, Status};

/// Leaving takes this long at most, once the work is done.
const GOODBYE: Duration = Duration::from_secs(2);

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Not registered yet, or registering again.
    Joining,
    /// The registry confirmed the last heartbeat.
    Registered,
    /// Registered once; the last heartbeat was not confirmed.
    Unreachable,
}

/// A registration that lives as long as this handle.
///
/// Dropping it deregisters in the background, as well as that can be done; [`leave`](Self::leave) waits.
#[must_use = "the registration ends when this is dropped"]
pub struct Member {
    registration: Arc<Registration>,
    standing: watch::Receiver<Standing>,
    status: watch::Sender<Status>,
    draining: watch::Sender<bool>,
    registry: Option<Box<dyn Registered>>,
    keeper: AbortOnDrop,
}

/// What a member still asks of its registry, whatever kind that is.
trait Registered: Send + Sync {
    fn drain<'a>(&'a self, id: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    fn deregister(self: Box<Self>, id: String) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<R: Registry> Registered for R {
    fn drain<'a>(&'a self, id: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Err(error) = within(self.set_draining(id, Some(REASON))).await {
                tracing::warn!(
                    id,
                    error = &error as &dyn std::error::Error,
                    "the drain was not announced"
                );
            }
        })
    }

    fn deregister(self: Box<Self>, id: String) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let gone = tokio::time::timeout(GOODBYE, Registry::deregister(&*self, &id)).await;
            if !matches!(gone, Ok(Ok(()))) {
                tracing::warn!(
                    id,
                    "not deregistered; the registry removes it after its TTL"
                );
            }
        })
    }
}

// === impl Member ===

impl Member {
    pub(super) fn start<R: Registry>(
        registry: R,
        registration: Registration,
        membership: &Membership,
    ) -> Self {
        let registration = Arc::new(registration);
        let (standing, standing_seen) = watch::channel(Standing::Joining);
        let (status, status_seen) = watch::channel(Status::Passing);
        let (draining, draining_seen) = watch::channel(false);
        let keeper = Keeper {
            registry: registry.clone(),
            registration: Arc::clone(&registration),
            backoff: membership.backoff,
            standing,
            status: status_seen,
            draining: draining_seen,
        };
        let keeper = AbortOnDrop(tokio::spawn(keeper.run()).abort_handle());
        let registry: Option<Box<dyn Registered>> = Some(Box::new(registry));
        Self {
            registration,
            standing: standing_seen,
            status,
            draining,
            registry,
            keeper,
        }
    }

    /// What is registered.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.registration.instance
    }

    /// Where the registration stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Waits until the registry has confirmed the registration.
    pub async fn registered(&mut self) {
        let confirmed = |standing: &Standing| *standing == Standing::Registered;
        // The sender lives in the keeper, which lives as long as this handle.
        let _ = self.standing.wait_for(confirmed).await;
    }

    /// Reports another status with a heartbeat at once.
    pub fn set_status(&self, status: Status) {
        self.status.send_replace(status);
    }

    /// Announces that the instance takes nothing new. It stays registered, and is announced so again should the registry
    /// forget it.
    pub async fn drain(&self) {
        self.draining.send_replace(true);
        if let Some(registry) = &self.registry {
            registry.drain(&self.registration.instance.id).await;
        }
    }

    /// Deregisters and waits for the confirmation, 2 seconds at most.
    pub async fn leave(mut self) {
        if let Some(goodbye) = self.goodbye() {
            goodbye.await;
        }
    }

    /// Ends the heartbeats first, so that none of them registers again.
    fn goodbye(&mut self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        self.keeper.0.abort();
        let registry = self.registry.take()?;
        Some(registry.deregister(self.registration.instance.id.clone()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(goodbye) = self.goodbye()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Best effort: the process may end before it is through. The TTL removes what stays behind.
            runtime.spawn(goodbye);
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("instance", self.instance())
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}
