//! What runs in the background: the probe's thread and the folding task.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::backoff::Backoff;
use crate::clock;
use crate::observe;
use crate::probe::{Fault, Probe, ProbeError};
use crate::reading::{DeviceId, Reading};
use crate::snapshot::{Availability, GpuSnapshot};
use crate::tracker::Tracker;

/// What an operator wants.
#[derive(Debug)]
pub(super) enum Command {
    ClearHealth {
        id: DeviceId,
        answer: oneshot::Sender<bool>,
    },
}

// === The probe's thread ===

pub(super) fn look_until_stopped(
    mut probe: impl Probe,
    period: Duration,
    backoff: Backoff,
    outcomes: &mpsc::Sender<Result<Reading, ProbeError>>,
    stopped: &Receiver<()>,
) {
    let mut failures = 0;
    loop {
        let result = probe.watch(&mut |reading| {
            failures = 0;
            if outcomes.blocking_send(Ok(reading)).is_err() {
                return ControlFlow::Break(());
            }
            pause(stopped, period)
        });
        let Err(error) = result else { return };
        let wait = backoff.delay(failures, fastrand::f64());
        failures = failures.saturating_add(1);
        if outcomes.blocking_send(Err(error)).is_err() || pause(stopped, wait).is_break() {
            return;
        }
    }
}

/// Waits, or breaks as soon as the sampler is gone.
fn pause(stopped: &Receiver<()>, wait: Duration) -> ControlFlow<()> {
    match stopped.recv_timeout(wait) {
        Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
    }
}

// === The folding task ===

pub(super) async fn fold(
    mut inbox: mpsc::Receiver<Result<Reading, ProbeError>>,
    mut orders: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<GpuSnapshot>>,
    mut tracker: Tracker,
) {
    let mut alive = true;
    loop {
        let silence = tracker.freshness_lasts(clock::now());
        tokio::select! {
            outcome = inbox.recv(), if alive => {
                let now = clock::now();
                match outcome {
                    Some(Ok(reading)) => {
                        observe::looked(reading.took);
                        tracker.observe(reading, now);
                    }
                    Some(Err(error)) => report_and_fail(&mut tracker, error),
                    None => {
                        alive = false;
                        report_and_fail(&mut tracker, ProbeError::Faulted(Fault::ProbeEnded));
                    }
                }
                publish.send_replace(Arc::new(tracker.snapshot(now)));
            }
            Some(Command::ClearHealth { id, answer }) = orders.recv() => {
                let now = clock::now();
                // Whoever asked may have gone: the order stands all the same.
                let _ = answer.send(tracker.clear_health(&id, now));
                publish.send_replace(Arc::new(tracker.snapshot(now)));
            }
            () = tokio::time::sleep(silence.unwrap_or_default()), if silence.is_some() => {
                let snapshot = tracker.snapshot(clock::now());
                tracing::debug!(freshness = ?snapshot.freshness, "no word from the GPU probe");
                publish.send_replace(Arc::new(snapshot));
            }
            else => return,
        }
    }
}

/// Logs a failure once, not at every retry.
fn report_and_fail(tracker: &mut Tracker, error: ProbeError) {
    let now = clock::now();
    let before = tracker.snapshot(now).availability;
    match &error {
        ProbeError::Absent(reason) if before != Availability::Absent(*reason) => {
            tracing::info!(%reason, "no GPU on this machine");
        }
        ProbeError::Faulted(fault) if before != Availability::Faulted(fault.clone()) => {
            tracing::warn!(%fault, "GPU driver is faulty, trying again");
        }
        _ => {}
    }
    observe::look_failed();
    tracker.fail(error, now);
}
