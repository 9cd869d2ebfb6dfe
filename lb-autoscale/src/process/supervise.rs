//! One slot's supervisor: start, wait, replace, drain, stop.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Instance, Life, Report, Settings};
use crate::{clock, observe};

pub(super) fn start(
    settings: Arc<Settings>,
    slot: u16,
    stop: Arc<Notify>,
) -> (watch::Receiver<Report>, JoinHandle<()>) {
    let now = clock::now();
    let instance = Instance {
        id: format!("{}-{slot}", settings.name),
        slot,
        incarnation: 0,
        pid: None,
    };
    let first = Report {
        instance,
        life: Life::Starting,
        since: now,
        started_at: now,
        restarts: 0,
        last_exit: None,
    };
    let (report, receiver) = watch::channel(first);
    let supervisor = Supervisor {
        settings,
        report,
        crashes: 0,
    };
    (receiver, tokio::spawn(supervisor.run(stop)))
}

struct Supervisor {
    settings: Arc<Settings>,
    report: watch::Sender<Report>,
    /// Deaths in a row without one that proved itself.
    crashes: u32,
}

impl Supervisor {
    async fn run(mut self, stop: Arc<Notify>) {
        loop {
            let ended = match self.spawn() {
                Ok(mut child) => {
                    tokio::select! {
                        () = stop.notified() => {
                            self.stop(&mut child).await;
                            return self.live(Life::Stopped);
                        }
                        ended = self.live_and_die(&mut child) => ended,
                    }
                }
                Err(error) => format!("could not be started: {error}"),
            };
            let delay = self.crashed(ended);
            tokio::select! {
                () = stop.notified() => return self.live(Life::Stopped),
                () = sleep(delay) => {}
            }
            self.report
                .send_modify(|report| report.instance.incarnation += 1);
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let slot = self.report.borrow().instance.slot;
        let child = (self.settings.command)(slot).kill_on_drop(true).spawn()?;
        let now = clock::now();
        self.report.send_modify(|report| {
            report.instance.pid = child.id();
            (report.life, report.since, report.started_at) = (Life::Starting, now, now);
        });
        Ok(child)
    }

    /// Runs until the process ends by itself or never becomes ready; says how.
    async fn live_and_die(&mut self, child: &mut Child) -> String {
        let limit = self.settings.start_timeout;
        let started = tokio::select! {
            status = child.wait() => return exit(status),
            started = timeout(limit, self.become_ready()) => started,
        };
        if started.is_err() {
            // Failing to kill means that it is gone already.
            let _ = child.kill().await;
            return format!("was not ready within {limit:?}");
        }
        self.live(Life::Ready);
        let ready_since = clock::now();
        let ended = exit(child.wait().await);
        if clock::now().since(ready_since) >= self.settings.stable_after {
            self.crashes = 0;
        }
        ended
    }

    async fn become_ready(&self) {
        let Some(ready) = &self.settings.ready else {
            return;
        };
        while !ready(self.instance()).await {
            sleep(self.settings.ready_every).await;
        }
    }

    /// Notes a death; returns how long to wait before the next start.
    fn crashed(&mut self, ended: String) -> Duration {
        let (first, longest) = self.settings.backoff;
        let delay = first.saturating_mul(1 << self.crashes.min(20)).min(longest);
        self.crashes = self.crashes.saturating_add(1);
        observe::restarted(&self.settings.name);
        let id = self.instance().id;
        tracing::warn!(instance = id, crashes = self.crashes, ?delay, "{ended}");
        self.report.send_modify(|report| {
            report.restarts += 1;
            report.last_exit = Some(ended);
            report.instance.pid = None;
        });
        self.live(Life::BackingOff);
        delay
    }

    async fn stop(&self, child: &mut Child) {
        if let Some(drain) = &self.settings.drain {
            self.live(Life::Draining);
            tokio::select! {
                drained = timeout(self.settings.drain_deadline, drain(self.instance())) => {
                    if drained.is_err() {
                        observe::drain_timed_out(&self.settings.name);
                        tracing::warn!(instance = self.instance().id, "drain cut off by its deadline");
                    }
                }
                // It ended by itself while draining: nothing is left to stop.
                _ = child.wait() => return,
            }
        }
        self.live(Life::Stopping);
        terminate(child);
        if timeout(self.settings.stop_grace, child.wait())
            .await
            .is_err()
        {
            // Failing to kill means that it is gone already.
            let _ = child.kill().await;
        }
    }

    fn instance(&self) -> Instance {
        self.report.borrow().instance.clone()
    }

    fn live(&self, life: Life) {
        let now = clock::now();
        self.report
            .send_modify(|report| (report.life, report.since) = (life, now));
    }
}

/// SIGTERM. The pid is ours until the child was waited for.
fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        // The only error is that it is gone already.
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn exit(status: std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("could not be waited for: {error}"),
    }
}
