//! A registry inside the process: the default, and the store behind the embedded server.
//!
//! It needs no network and no configuration. Clones are handles to one store. A background task, started
//! with the first registration inside a tokio runtime, lets time pass: it ends TTLs and removes what was
//! critical for too long. It ends with the last handle.
//!
//! ```
//! use lb_registry::{Discovery, InProcess, Instance, Registration, Registry, Status};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), lb_registry::RegistryError> {
//! let registry = InProcess::default();
//! registry.register(&Registration::new(Instance::new("simulation", "a", "10.0.0.1", 80))).await?;
//! registry.set_draining("a", Some("scale in")).await?;
//! assert_eq!(registry.watch("simulation").latest().instances[0].status, Status::Draining);
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use crate::catalog::{
    Catalog, CatalogError, CheckStatus, Limits, Outcome, Probe, ServiceDefinition, Unit,
};
use crate::watch::AbortOnDrop;
use crate::{Discovery, Registration, Registry, RegistryError, Snapshot, Status, Watch, clock};

/// Address given to services that register without one.
const OWN_ADDRESS: &str = "127.0.0.1";

/// Somebody who makes changes on behalf of several stores that hold the same; they come back to each of them.
pub(crate) trait Journal: Send + Sync {
    /// Makes `change` on a copy of these units, tries anew if they have changed meanwhile, and returns once the result
    /// is kept.
    fn write<'a>(&'a self, units: Vec<Unit>, change: Change<'a>) -> Writing<'a>;

    /// `false` until it is known what the others hold.
    fn is_ready(&self) -> bool;

    /// `false` while nobody tells what the others change.
    #[cfg_attr(
        not(feature = "server"),
        allow(dead_code, reason = "the server tells it")
    )]
    fn is_followed(&self) -> bool;
}

pub(crate) type Change<'a> =
    &'a mut (dyn FnMut(&mut Catalog, Instant) -> Result<(), CatalogError> + Send);
pub(crate) type Writing<'a> = Pin<Box<dyn Future<Output = Result<(), WriteError>> + Send + 'a>>;

/// A change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The catalog says no.
    #[error(transparent)]
    Refused(#[from] CatalogError),
    /// It cannot be kept now, because what the stores share does not answer.
    #[error("what the replicas share does not answer")]
    #[cfg(feature = "etcd")]
    NoLeader,
}

pub(crate) type Probing = Pin<Box<dyn Future<Output = Outcome> + Send>>;
pub(crate) type Prober = Box<dyn Fn(Probe) -> Probing + Send + Sync>;

/// A registry inside the process. See the [module documentation](self).
#[derive(Clone)]
pub struct InProcess {
    inner: Arc<Inner>,
}

/// A handle that does not keep the registry alive.
#[cfg(feature = "etcd")]
pub(crate) struct WeakInProcess(Weak<Inner>);

#[cfg(feature = "etcd")]
impl WeakInProcess {
    /// The registry, if somebody still has it.
    pub(crate) fn upgrade(&self) -> Option<InProcess> {
        let inner = self.0.upgrade()?;
        Some(InProcess { inner })
    }
}

struct Inner {
    catalog: Mutex<Catalog>,
    changed: watch::Sender<u64>,
    watches: Mutex<HashMap<String, watch::Sender<Arc<Snapshot>>>>,
    address: String,
    timer: OnceLock<AbortOnDrop>,
    wake: Arc<Notify>,
    prober: OnceLock<Prober>,
    journal: OnceLock<Arc<dyn Journal>>,
}

// === impl InProcess ===

impl Default for InProcess {
    fn default() -> Self {
        Self::with_limits(Limits::default())
    }
}

impl InProcess {
    /// An empty registry with these limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self::with_catalog(Catalog::new(limits))
    }

    /// A registry with what was [persisted](crate::server::Builder::persist), or an empty one if there is no file.
    /// TTLs start anew, so what does not come back is critical after one TTL. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](std::io::ErrorKind::InvalidData) if the file is damaged, and what reading it reports.
    #[cfg(feature = "server")]
    pub fn restore(file: impl AsRef<std::path::Path>, limits: Limits) -> std::io::Result<Self> {
        match crate::persist::read(file.as_ref()) {
            Ok(saved) => Ok(Self::with_catalog(Catalog::restore(
                limits,
                saved,
                clock::now(),
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::with_limits(limits))
            }
            Err(error) => Err(error),
        }
    }

    fn with_catalog(catalog: Catalog) -> Self {
        let (changed, _) = watch::channel(catalog.indexes().last());
        let inner = Inner {
            catalog: Mutex::new(catalog),
            changed,
            watches: Mutex::default(),
            address: OWN_ADDRESS.into(),
            timer: OnceLock::new(),
            wake: Arc::default(),
            prober: OnceLock::new(),
            journal: OnceLock::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Reads the catalog. The lock is held while `read` runs: be quick.
    pub fn read<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        read(&self.inner.catalog())
    }

    /// Changes the catalog and tells everybody who watches what changed. In a store that is one of several
    /// (feature `etcd`) such a change stays here; register through [`Registry`] or the embedded server instead.
    pub fn change<T>(&self, change: impl FnOnce(&mut Catalog, Instant) -> T) -> T {
        self.start_timer();
        let result = self.inner.change(change);
        self.inner.wake.notify_one();
        result
    }

    /// Changes these units, here or, if this store is one of several, in all of them.
    pub(crate) async fn write(
        &self,
        units: Vec<Unit>,
        mut change: impl FnMut(&mut Catalog, Instant) -> Result<(), CatalogError> + Send,
    ) -> Result<(), WriteError> {
        match self.inner.journal.get() {
            Some(journal) => journal.write(units, &mut change).await,
            None => Ok(self.change(change)?),
        }
    }

    /// As [`write`](Self::write), for the unit that a check belongs to.
    pub(crate) async fn write_check(
        &self,
        check: &str,
        change: impl FnMut(&mut Catalog, Instant) -> Result<(), CatalogError> + Send,
    ) -> Result<(), WriteError> {
        let unit = self.read(|catalog| catalog.unit_of_check(check));
        self.write(unit.into_iter().collect(), change).await
    }

    /// From now on changes are made by this journal, and time passes as it says. Only the first one stays.
    #[cfg(feature = "etcd")]
    pub(crate) fn set_journal(&self, journal: Arc<dyn Journal>) -> bool {
        self.inner.journal.set(journal).is_ok()
    }

    /// A handle that does not keep the registry alive.
    #[cfg(feature = "etcd")]
    pub(crate) fn downgrade(&self) -> WeakInProcess {
        WeakInProcess(Arc::downgrade(&self.inner))
    }

    /// Changes this copy of what several stores hold, and nothing else.
    #[cfg(feature = "etcd")]
    pub(crate) fn change_here<T>(&self, change: impl FnOnce(&mut Catalog, Instant) -> T) -> T {
        self.inner.change(change)
    }

    /// `true` if other stores hold the same.
    #[cfg(feature = "server")]
    pub(crate) fn is_shared(&self) -> bool {
        self.inner.journal.get().is_some()
    }

    /// `false` while a store that is one of several does not know yet what the others hold.
    #[cfg(feature = "server")]
    pub(crate) fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }

    /// `false` while what several stores share cannot be reached: this one may be behind the others.
    #[cfg(feature = "server")]
    pub(crate) fn is_followed(&self) -> bool {
        let journal = self.inner.journal.get();
        journal.is_none_or(|journal| journal.is_followed())
    }

    /// It is known by now what the others hold: whoever watches may know it too.
    #[cfg(feature = "etcd")]
    pub(crate) fn is_ready_now(&self) {
        let catalog = self.inner.catalog();
        let all = self.inner.watches().keys().cloned().collect();
        self.inner.publish(&catalog, &all);
    }

    /// Asks the service itself; `None` if nobody has said how.
    #[cfg(feature = "etcd")]
    pub(crate) fn probe(&self, probe: Probe) -> Option<Probing> {
        self.inner.prober.get().map(|prober| prober(probe))
    }

    /// Wakes up with every new index.
    #[cfg(feature = "server")]
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Who answers probes. Only the first one stays.
    #[cfg(feature = "server")]
    pub(crate) fn set_prober(&self, prober: Prober) {
        let _ = self.inner.prober.set(prober);
        self.inner.wake.notify_one();
    }

    /// Starts the background task once there is a runtime to start it in.
    pub(crate) fn start_timer(&self) {
        if self.inner.timer.get().is_none()
            && self.inner.journal.get().is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.inner.timer.get_or_init(|| {
                let wake = Arc::clone(&self.inner.wake);
                let task = runtime.spawn(let_time_pass(Arc::downgrade(&self.inner), wake));
                AbortOnDrop(task.abort_handle())
            });
        }
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess")
            .field("index", &*self.inner.changed.borrow())
            .finish_non_exhaustive()
    }
}

impl Discovery for InProcess {
    fn watch(&self, service: &str) -> Watch {
        self.start_timer();
        // The catalog stays locked until the watch is known, so that no change falls in between.
        let catalog = self.inner.catalog();
        let mut watches = self.inner.watches();
        watches.retain(|_, sender| sender.receiver_count() > 0);
        let sender = watches
            .entry(service.to_owned())
            .or_insert_with(|| watch::channel(Arc::new(self.inner.snapshot(&catalog, service))).0);
        Watch::new(sender.subscribe(), None)
    }
}

impl Registry for InProcess {
    async fn register(&self, registration: &Registration) -> Result<(), RegistryError> {
        let definition = ServiceDefinition::from_instance(&registration.instance);
        // Nobody in this process asks over HTTP: the heartbeat is the check.
        let checks: Vec<_> = registration.checks().into_iter().take(1).collect();
        let units = vec![Unit::Service(definition.id.clone())];
        let register = |catalog: &mut Catalog, now| {
            catalog.register(definition.clone(), checks.clone(), true, now)
        };
        self.write(units, register).await.map_err(refused)
    }

    async fn heartbeat(&self, id: &str, status: Status, note: &str) -> Result<(), RegistryError> {
        let check = Registration::ttl_check_id(id);
        let status = match status {
            Status::Passing | Status::Draining => CheckStatus::Passing,
            Status::Warning => CheckStatus::Warning,
            Status::Critical => CheckStatus::Critical,
        };
        let report = |catalog: &mut Catalog, now| catalog.report(&check, status, note, now);
        match self.write_check(&check, report).await {
            Err(WriteError::Refused(_)) => Err(RegistryError::Unknown { id: id.to_owned() }),
            done => done.map_err(refused),
        }
    }

    async fn set_draining(&self, id: &str, reason: Option<&str>) -> Result<(), RegistryError> {
        let units = vec![Unit::Service(id.to_owned())];
        let set = |catalog: &mut Catalog, now| catalog.set_maintenance(id, reason, now);
        self.write(units, set).await.map_err(refused)
    }

    async fn deregister(&self, id: &str) -> Result<(), RegistryError> {
        let units = vec![Unit::Service(id.to_owned())];
        let removed = self.write(units, |catalog, now| catalog.deregister(id, now));
        match removed.await {
            Ok(()) | Err(WriteError::Refused(CatalogError::UnknownService(_))) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }
}

fn refused(error: WriteError) -> RegistryError {
    match error {
        WriteError::Refused(CatalogError::UnknownService(id)) => RegistryError::Unknown { id },
        WriteError::Refused(other) => RegistryError::Refused {
            status: 0,
            reason: other.to_string(),
        },
        #[cfg(feature = "etcd")]
        unreachable => RegistryError::Unreachable(unreachable.into()),
    }
}

// === impl Inner ===

impl Inner {
    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Arc<Snapshot>>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Catalog, Instant) -> T) -> T {
        let mut catalog = self.catalog();
        let before = catalog.indexes().last();
        let result = change(&mut catalog, clock::now());
        let touched = catalog.take_touched();
        self.publish(&catalog, &touched);
        let after = catalog.indexes().last();
        if after != before {
            // Still under the lock, so that the index never seems to go back.
            self.changed.send_replace(after);
        }
        result
    }

    fn publish(&self, catalog: &Catalog, touched: &BTreeSet<String>) {
        if touched.is_empty() {
            return;
        }
        let watches = self.watches();
        for (service, sender) in touched
            .iter()
            .filter_map(|name| watches.get_key_value(name))
        {
            let next = self.snapshot(catalog, service);
            sender.send_if_modified(|last| {
                let changed = last.instances != next.instances || last.origin != next.origin;
                if changed {
                    *last = Arc::new(next);
                }
                changed
            });
        }
    }

    fn is_ready(&self) -> bool {
        let journal = self.journal.get();
        journal.is_none_or(|journal| journal.is_ready())
    }

    fn snapshot(&self, catalog: &Catalog, service: &str) -> Snapshot {
        if !self.is_ready() {
            // Empty as it may be, that would be a lie.
            return Snapshot::pending(service);
        }
        let revision = catalog.indexes().last();
        Snapshot::live(service, revision, catalog.instances(service, &self.address))
    }
}

/// Lets time pass until the registry is gone.
async fn let_time_pass(registry: Weak<Inner>, wake: Arc<Notify>) {
    while let Some(inner) = registry.upgrade() {
        let tick = inner.change(Catalog::tick);
        for id in &tick.reaped {
            tracing::info!(id, "removed an instance that was critical for too long");
        }
        for probe in tick.probes {
            if let Some(prober) = inner.prober.get() {
                let answer = prober(probe.clone());
                tokio::spawn(take_answer(registry.clone(), probe, answer));
            }
        }
        // Asleep, the task holds nothing that keeps the registry alive.
        drop(inner);
        match tick.next {
            None => wake.notified().await,
            Some(next) => tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = wake.notified() => {}
            },
        }
    }
}

async fn take_answer(registry: Weak<Inner>, probe: Probe, answer: Probing) {
    let outcome = answer.await;
    if let Some(inner) = registry.upgrade() {
        inner.change(|catalog, now| catalog.probed(&probe, &outcome, now));
        inner.wake.notify_one();
    }
}
