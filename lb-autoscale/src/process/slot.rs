//! One slot: a place for a process, and who watches it.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::settings::Settings;
use super::{Life, Report, supervise};
use crate::inputs::{Phase, Pod};

/// One slot and its supervisor.
pub(super) struct Slot {
    pub(super) report: watch::Receiver<Report>,
    pub(super) stop: Arc<Notify>,
    pub(super) stopping: bool,
    pub(super) task: JoinHandle<()>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The child dies with its task (`kill_on_drop`).
        self.task.abort();
    }
}

impl Slot {
    pub(super) fn start(settings: Arc<Settings>, slot: u16) -> Self {
        let stop = Arc::new(Notify::new());
        let (report, task) = supervise::start(settings, slot, Arc::clone(&stop));
        Self {
            report,
            stop,
            stopping: false,
            task,
        }
    }

    pub(super) fn ask_to_stop(&mut self) {
        self.stopping = true;
        self.stop.notify_one();
    }

    pub(super) fn pod(&self, settings: &Settings) -> Pod {
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
