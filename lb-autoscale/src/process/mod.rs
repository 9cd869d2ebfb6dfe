//! Local child processes as the thing that is scaled.
//!
//! One process per slot; a slot's number chooses its port, its directory,
//! whatever its command needs. Every slot has a supervisor of its own:
//!
//! - it starts the process and waits until it is ready,
//! - it replaces one that dies, at once the first time, then with a delay that
//!   doubles (crash-loop back-off) until one lives long enough,
//! - it stops one that is no longer wanted: drain hook under a deadline, then
//!   SIGTERM, then, after the grace period, SIGKILL.
//!
//! Stopping goes on in the background, so deciding never waits for a drain. A
//! slot is used again only when its process is gone. Dropping [`LocalProcesses`]
//! kills what it started; [`LocalProcesses::shutdown`] drains first. Unix only.
//!
//! ```no_run
//! use std::time::Duration;
//! use lb_autoscale::process::LocalProcesses;
//! use tokio::process::Command;
//!
//! let fleet = LocalProcesses::new("simulation", |slot| {
//!         let mut command = Command::new("simulation");
//!         command.arg("--port").arg((9_000 + slot).to_string());
//!         command
//!     })
//!     .ready(|instance| async move {
//!         tokio::net::TcpStream::connect(("127.0.0.1", 9_000 + instance.slot)).await.is_ok()
//!     })
//!     .drain(|instance| async move { println!("draining {}", instance.id) })
//!     .drain_deadline(Duration::from_secs(60));
//! ```

mod supervise;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::actuator::{Actuator, ActuatorError};
use crate::inputs::{Phase, Pod, saturating_count};
use crate::source::Fleet;
use crate::{Decision, UnixMillis};

/// More slots than a machine can use; keeps a wrong decision from forking forever.
const MAX_SLOTS: u32 = 1_024;

type Hook<T> = Arc<dyn Fn(Instance) -> Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync>;

type WorkProbe = Box<dyn Fn(&Instance) -> Option<u32> + Send + Sync>;

/// One process, as hooks see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// `name-slot`; the same for every process of the slot.
    pub id: String,
    /// The slot, from 0.
    pub slot: u16,
    /// Counts the processes of this slot, from 0.
    pub incarnation: u64,
    /// Its process id.
    pub pid: Option<u32>,
}

/// A fleet of child processes on this machine.
pub struct LocalProcesses {
    settings: Arc<Settings>,
    slots: BTreeMap<u16, Slot>,
    touched: bool,
}

/// What all supervisors share.
pub(crate) struct Settings {
    name: String,
    command: Box<dyn Fn(u16) -> Command + Send + Sync>,
    ready: Option<Hook<bool>>,
    drain: Option<Hook<()>>,
    active_work: Option<WorkProbe>,
    ready_every: Duration,
    start_timeout: Duration,
    drain_deadline: Duration,
    stop_grace: Duration,
    backoff: (Duration, Duration),
    stable_after: Duration,
}

struct Slot {
    report: watch::Receiver<Report>,
    stop: Arc<Notify>,
    stopping: bool,
    task: JoinHandle<()>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The child dies with its task (`kill_on_drop`).
        self.task.abort();
    }
}

/// What a supervisor says about its slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The process.
    pub instance: Instance,
    /// Where it is in its life.
    pub life: Life,
    /// When this life began.
    pub since: UnixMillis,
    /// When the process was started.
    pub started_at: UnixMillis,
    /// How often this slot's process had to be replaced.
    pub restarts: u64,
    /// How the last one ended.
    pub last_exit: Option<String>,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Started, not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// Died; the next one waits for its delay.
    BackingOff,
    /// Takes no new work, finishes what it has.
    Draining,
    /// Was told to end.
    Stopping,
    /// Gone.
    Stopped,
}

// === impl LocalProcesses ===

impl LocalProcesses {
    /// No process yet; the loop starts the minimum. `command` is asked once per start.
    pub fn new(
        name: impl Into<String>,
        command: impl Fn(u16) -> Command + Send + Sync + 'static,
    ) -> Self {
        let settings = Settings {
            name: name.into(),
            command: Box::new(command),
            ready: None,
            drain: None,
            active_work: None,
            ready_every: Duration::from_millis(100),
            start_timeout: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(30),
            stop_grace: Duration::from_secs(10),
            backoff: (Duration::from_millis(500), Duration::from_secs(60)),
            stable_after: Duration::from_secs(30),
        };
        Self {
            settings: Arc::new(settings),
            slots: BTreeMap::new(),
            touched: false,
        }
    }

    /// Asked until it says `true`. Default: a process is ready as soon as it runs.
    #[must_use]
    pub fn ready<F, Fut>(self, ready: F) -> Self
    where
        F: Fn(Instance) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.with(|settings| {
            settings.ready = Some(Arc::new(move |instance| Box::pin(ready(instance))));
        })
    }

    /// Awaited before a process is told to end, for example a pool's drain.
    /// Default: nothing, the process is told at once.
    #[must_use]
    pub fn drain<F, Fut>(self, drain: F) -> Self
    where
        F: Fn(Instance) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.with(|settings| {
            settings.drain = Some(Arc::new(move |instance| Box::pin(drain(instance))));
        })
    }

    /// How much work an instance holds, for choosing victims. Default: unknown.
    #[must_use]
    pub fn active_work(
        self,
        work: impl Fn(&Instance) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.active_work = Some(Box::new(work)))
    }

    /// How often readiness is asked. Default: 100 ms.
    #[must_use]
    pub fn ready_every(self, period: Duration) -> Self {
        self.with(|settings| settings.ready_every = period.max(Duration::from_millis(1)))
    }

    /// A process that is not ready by then counts as dead. Default: 60 s.
    #[must_use]
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.with(|settings| settings.start_timeout = limit)
    }

    /// How long the drain hook may take. Default: 30 s.
    #[must_use]
    pub fn drain_deadline(self, limit: Duration) -> Self {
        self.with(|settings| settings.drain_deadline = limit)
    }

    /// How long a process may take to end after SIGTERM. Default: 10 s.
    #[must_use]
    pub fn stop_grace(self, limit: Duration) -> Self {
        self.with(|settings| settings.stop_grace = limit)
    }

    /// First and longest delay of the crash-loop back-off. Default: 0.5 s to 60 s.
    #[must_use]
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        self.with(|settings| settings.backoff = (first, longest.max(first)))
    }

    /// A process that was ready this long has proven itself: the back-off starts
    /// anew. Default: 30 s.
    #[must_use]
    pub fn stable_after(self, span: Duration) -> Self {
        self.with(|settings| settings.stable_after = span)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        // Settings are shared only once a slot runs, and then this builder is over.
        if let Some(settings) = Arc::get_mut(&mut self.settings) {
            change(settings);
        }
        self
    }

    /// Every slot's latest report.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.slots
            .values()
            .map(|slot| slot.report.borrow().clone())
            .collect()
    }

    /// Drains and stops everything; returns when all processes are gone.
    pub async fn shutdown(mut self) {
        for slot in self.slots.values_mut() {
            slot.ask_to_stop();
        }
        for slot in self.slots.values_mut() {
            // An error would mean that the supervisor is gone, and its child with it.
            let _ = (&mut slot.task).await;
        }
    }

    fn wanted(&self) -> u32 {
        saturating_count(self.slots.values().filter(|slot| !slot.stopping).count())
    }

    fn start_one(&mut self) -> Result<(), ActuatorError> {
        let free = (0..u16::MAX).find(|slot| !self.slots.contains_key(slot));
        let slot = free.ok_or_else(|| ActuatorError::Refused("no slot is free".into()))?;
        let stop = Arc::new(Notify::new());
        let (report, task) = supervise::start(Arc::clone(&self.settings), slot, Arc::clone(&stop));
        self.slots.insert(
            slot,
            Slot {
                report,
                stop,
                stopping: false,
                task,
            },
        );
        Ok(())
    }

    /// Stops the victims first; if more must go, the highest slots.
    fn stop_down_to(&mut self, desired: u32, victims: &[String]) {
        let victims: BTreeSet<&str> = victims.iter().map(String::as_str).collect();
        let mut leaving: Vec<u16> = self.slots.keys().copied().rev().collect();
        leaving.sort_by_key(|slot| {
            let id = self.slots[slot].report.borrow().instance.id.clone();
            !victims.contains(id.as_str())
        });
        for slot in leaving {
            if self.wanted() <= desired {
                return;
            }
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.ask_to_stop();
            }
        }
    }
}

impl Slot {
    fn ask_to_stop(&mut self) {
        self.stopping = true;
        self.stop.notify_one();
    }

    fn pod(&self, settings: &Settings) -> Pod {
        let report = self.report.borrow();
        let mut pod = Pod::pending(report.instance.id.as_str());
        pod.deleting = self.stopping;
        pod.started_at = Some(report.started_at);
        pod.ready_changed_at = Some(report.since);
        pod.ready = Some(report.life == Life::Ready);
        if report.life != Life::BackingOff {
            pod.phase = Phase::Running;
        }
        pod.active_work = settings
            .active_work
            .as_ref()
            .and_then(|work| work(&report.instance));
        pod
    }
}

impl Actuator for LocalProcesses {
    async fn observe(&mut self) -> Result<Fleet, ActuatorError> {
        self.slots.retain(|_, slot| !slot.task.is_finished());
        Ok(Fleet {
            replicas: self.wanted(),
            status_replicas: None,
            pods: self
                .slots
                .values()
                .map(|slot| slot.pod(&self.settings))
                .collect(),
            fresh: !self.touched,
        })
    }

    async fn apply(&mut self, decision: &Decision) -> Result<(), ActuatorError> {
        if decision.desired > MAX_SLOTS {
            return Err(ActuatorError::Refused(format!(
                "more than {MAX_SLOTS} local processes"
            )));
        }
        self.touched = true;
        while self.wanted() < decision.desired {
            self.start_one()?;
        }
        self.stop_down_to(decision.desired, &decision.victims);
        Ok(())
    }
}

impl fmt::Debug for LocalProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalProcesses")
            .field("name", &self.settings.name)
            .field("reports", &self.reports())
            .finish_non_exhaustive()
    }
}
