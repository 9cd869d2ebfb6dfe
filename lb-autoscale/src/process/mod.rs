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
//! kills what it started; [`LocalProcesses::shutdown`] drains first, for which
//! [`Shared`](crate::actuator::Shared) gets it back from the loop. Unix only.
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

mod report;
mod settings;
mod slot;
mod supervise;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use tokio::process::Command;

pub use self::report::{Instance, Life, Report};
use self::settings::Settings;
use self::slot::Slot;
use crate::Decision;
use crate::actuator::{Actuator, ActuatorError};
use crate::inputs::saturating_count;
use crate::source::Fleet;

/// More slots than a machine can use; keeps a wrong decision from forking forever.
const MAX_SLOTS: u32 = 1_024;

/// A fleet of child processes on this machine.
pub struct LocalProcesses {
    settings: Arc<Settings>,
    slots: BTreeMap<u16, Slot>,
    touched: bool,
}

// === impl LocalProcesses ===

impl LocalProcesses {
    /// No process yet; the loop starts the minimum. `command` is asked once per start.
    pub fn new(
        name: impl Into<String>,
        command: impl Fn(u16) -> Command + Send + Sync + 'static,
    ) -> Self {
        Self {
            settings: Arc::new(Settings::new(name.into(), Box::new(command))),
            slots: BTreeMap::new(),
            touched: false,
        }
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
        let started = Slot::start(Arc::clone(&self.settings), slot);
        self.slots.insert(slot, started);
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
