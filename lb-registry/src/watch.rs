//! The latest set of instances of one service, and a wake-up when it changes.
//!
//! A [`Watch`] holds one value, never a queue: a slow reader skips states and always sees the last one,
//! and nobody waits for it. It is a `Stream` of whole [`Snapshot`]s; [`Watch::changes`] turns it into
//! steps. A service about which nothing is known yet yields nothing, so a consumer never takes "not asked
//! yet" for "nobody there".
//!
//! Dropping the last clone of a watch ends the task that feeds it.
//!
//! ```
//! use futures_util::StreamExt;
//! use lb_registry::{Discovery, InProcess, Instance, Registration, Registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), lb_registry::RegistryError> {
//! let registry = InProcess::default();
//! let mut sets = registry.watch("simulation").map(|snapshot| snapshot.instances.len());
//! assert_eq!(sets.next().await, Some(0));
//! registry.register(&Registration::new(Instance::new("simulation", "a", "10.0.0.1", 80))).await?;
//! assert_eq!(sets.next().await, Some(1));
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::Snapshot;
use crate::diff::{Change, diff};

type Receiver = watch::Receiver<Arc<Snapshot>>;
type Waiting = Pin<Box<dyn Future<Output = Option<Receiver>> + Send>>;

/// The latest set of instances of one service. See the [module documentation](self).
pub struct Watch {
    latest: Receiver,
    feeder: Option<Arc<AbortOnDrop>>,
    /// Only ever reached through `&mut`; the lock is there to make a watch shareable between threads.
    waiting: Mutex<Option<Waiting>>,
    started: bool,
}

/// A stream of steps instead of sets, made by [`Watch::changes`].
#[derive(Debug)]
pub struct Changes {
    watch: Watch,
    known: Arc<[Arc<crate::Instance>]>,
    pending: VecDeque<Change>,
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Watch ===

impl Watch {
    pub(crate) fn new(latest: Receiver, feeder: Option<AbortOnDrop>) -> Self {
        Self {
            latest,
            feeder: feeder.map(Arc::new),
            waiting: Mutex::default(),
            started: false,
        }
    }

    /// The latest set; pending and empty while nothing is known.
    #[must_use]
    pub fn latest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// Waits until the latest set satisfies `condition`, and returns it; `None` when no set will come any more.
    pub async fn until(&mut self, condition: impl Fn(&Snapshot) -> bool) -> Option<Arc<Snapshot>> {
        let found = self
            .latest
            .wait_for(|snapshot| condition(snapshot))
            .await
            .ok()?;
        Some(Arc::clone(&found))
    }

    /// The same watch as a stream of single steps, as `tower::discover` has them.
    #[must_use]
    pub fn changes(self) -> Changes {
        Changes {
            watch: self,
            known: Arc::new([]),
            pending: VecDeque::new(),
        }
    }

    fn waiting(&mut self) -> &mut Option<Waiting> {
        self.waiting
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) -> Waiting {
        let mut receiver = self.latest.clone();
        Box::pin(async move {
            receiver.changed().await.ok()?;
            Some(receiver)
        })
    }
}

impl Clone for Watch {
    fn clone(&self) -> Self {
        Self {
            latest: self.latest.clone(),
            feeder: self.feeder.clone(),
            waiting: Mutex::default(),
            started: self.started,
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("latest", &self.latest())
            .finish_non_exhaustive()
    }
}

impl Stream for Watch {
    type Item = Arc<Snapshot>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.started {
            self.started = true;
            let first = Arc::clone(&self.latest.borrow_and_update());
            if !first.is_pending() {
                return Poll::Ready(Some(first));
            }
        }
        loop {
            let mut waiting = match self.waiting().take() {
                Some(waiting) => waiting,
                None => self.wait(),
            };
            let Poll::Ready(changed) = waiting.as_mut().poll(cx) else {
                *self.waiting() = Some(waiting);
                return Poll::Pending;
            };
            let Some(receiver) = changed else {
                return Poll::Ready(None);
            };
            self.latest = receiver;
            let next = Arc::clone(&self.latest.borrow_and_update());
            if !next.is_pending() {
                return Poll::Ready(Some(next));
            }
        }
    }
}

// === impl Changes ===

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Poll::Ready(Some(change));
            }
            let Some(snapshot) = ready!(Pin::new(&mut self.watch).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            let steps = diff(&self.known, &snapshot.instances).into_changes();
            self.pending.extend(steps);
            self.known = Arc::clone(&snapshot.instances);
        }
    }
}
