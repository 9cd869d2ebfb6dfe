//! Several embedded servers that agree: what they hold lives in etcd, and each of them has a copy.
//!
//! [`Etcd::share`] ties an [`InProcess`] store to others of its kind. A change is made on one of them, written to etcd
//! in one transaction, and comes back to every one, also to the first, through etcd's watch. So all of them go through
//! the same changes in the same order; what a server confirms has been stored by a majority of etcd, and
//! `X-Consul-Index` is etcd's revision, the same on each. A change that meets another one is made anew on the result.
//!
//! # Time
//!
//! Every TTL check holds a lease of its own. A heartbeat at whichever server renews it, and when it ends every
//! server calls the check critical: no clock of theirs is compared. One of them, the leader, asks the services that want
//! to be asked over HTTP or TCP, and removes those that have been critical for too long; if it dies, another one
//! leads within seconds.
//!
//! # When etcd goes away
//!
//! Reads go on with what is known, leases stand still, heartbeats are taken and passed on later. Changes wait for
//! five seconds and are then refused (500, `No cluster leader`, as by Consul), with nothing changed. A server that starts
//! meanwhile answers nothing rather than an empty list. When etcd comes back, every lease begins anew: a service that
//! died during the outage is critical one TTL after it. An etcd that comes back empty is filled again from the servers.
//!
//! # Limits
//!
//! Sessions and locks are refused (501). There is no user name and no client certificate; `https` URLs need the feature
//! `tls`. At most 100 TTL checks per service. TTLs are rounded up to whole seconds, and
//! etcd makes nothing shorter than 2 of them.
//!
//! Speaks etcd's JSON interface (3.4 and later, paths under `/v3`), so that no gRPC has to be built.
//!
//! ```no_run
//! use lb_registry::{EmbeddedServer, Etcd, InProcess};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = InProcess::default();
//! let replica = Etcd::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379"])?.share(&store)?;
//! replica.ready().await;
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:8500").await?;
//! EmbeddedServer::new(store).serve(listener).await?;
//! # Ok(())
//! # }
//! ```

mod client;
mod duty;
mod follow;
mod key;
mod renew;
mod state;
mod wire;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use self::client::Client;
use self::renew::Renewals;
use self::state::State;
use crate::in_process::WeakInProcess;
use crate::watch::AbortOnDrop;
use crate::{InProcess, InvalidUrl};

/// Where what several servers hold is kept. See the [module documentation](self).
#[derive(Clone, Debug)]
#[must_use = "nothing is shared until `share` is called"]
pub struct Etcd {
    client: Client,
    prefix: String,
}

/// The store is shared already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is shared already")]
pub struct AlreadyShared;

/// A store's part in the sharing. Dropping it ends that: the store can still be read, and changes are refused.
#[must_use = "the sharing ends when this is dropped"]
pub struct Replica {
    shared: Arc<Shared>,
    _tasks: [AbortOnDrop; 3],
}

/// What the tasks and the writers of one replica have in common.
struct Shared {
    client: Client,
    prefix: String,
    /// Names this replica as a leader.
    name: String,
    store: WeakInProcess,
    state: Mutex<State>,
    /// Up to which revision the store has followed; zero before the first list.
    applied: watch::Sender<u64>,
    /// Changes of the others arrive.
    followed: AtomicBool,
    renewals: Renewals,
}

// === impl Etcd ===

impl Etcd {
    /// The etcd at these URLs; one of them that answers is enough. Connects once something is shared.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`], also if there is none.
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, InvalidUrl> {
        Ok(Self {
            client: Client::new(urls)?,
            prefix: "/lb-registry/".into(),
        })
    }

    /// Trusts the certificates in this file (PEM), which is read now. Default: what the system trusts.
    ///
    /// # Errors
    ///
    /// [`InvalidCertificates`](crate::InvalidCertificates).
    #[cfg(feature = "tls")]
    pub fn ca_file(
        mut self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<Self, crate::InvalidCertificates> {
        self.client = self.client.trusting(path.as_ref())?;
        Ok(self)
    }

    /// What every key begins with. Replicas with the same prefix hold the same. Default: `/lb-registry/`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Makes this store one of several. What it holds already and the others do not know is added to what is shared.
    /// Must be called inside a tokio runtime, and before the store is used elsewhere.
    ///
    /// # Errors
    ///
    /// [`AlreadyShared`].
    pub fn share(self, store: &InProcess) -> Result<Replica, AlreadyShared> {
        let shared = Arc::new(Shared {
            client: self.client,
            prefix: self.prefix,
            name: format!("{:016x}", fastrand::u64(..)),
            store: store.downgrade(),
            state: Mutex::default(),
            applied: watch::Sender::new(0),
            followed: AtomicBool::new(false),
            renewals: Renewals::default(),
        });
        if !store.set_journal(Arc::clone(&shared) as _) {
            return Err(AlreadyShared);
        }
        let task = |task: tokio::task::JoinHandle<()>| AbortOnDrop(task.abort_handle());
        let tasks = [
            task(tokio::spawn(follow::run(Arc::clone(&shared)))),
            task(tokio::spawn(renew::run(Arc::clone(&shared)))),
            task(tokio::spawn(duty::run(Arc::clone(&shared)))),
        ];
        Ok(Replica {
            shared,
            _tasks: tasks,
        })
    }
}

// === impl Replica ===

impl Replica {
    /// Waits until it is known what the others hold.
    pub async fn ready(&self) {
        let mut applied = self.shared.applied.subscribe();
        // The sender lives as long as this handle.
        let _ = applied.wait_for(|revision| *revision > 0).await;
    }

    /// `true` while this replica asks services how they are, on behalf of all.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.shared.state().is_led_by(&self.shared.name)
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("prefix", &self.shared.prefix)
            .field("revision", &*self.shared.applied.borrow())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
