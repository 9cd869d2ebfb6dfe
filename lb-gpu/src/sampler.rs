//! Samples a probe in the background and always has an answer.
//!
//! The probe runs on an operating system thread of its own; a small task folds
//! its readings and publishes [`GpuSnapshot`]s on a watch channel. When the
//! driver hangs, the thread hangs with it, and nothing else does: the task
//! notices the silence and publishes the same numbers as stale, then as unknown.
//! A driver that breaks is opened again with back-off.
//!
//! Dropping the [`Sampler`] stops both. A thread that is stuck inside the driver
//! cannot be stopped by anybody; it ends as soon as the driver lets go of it.
//!
//! ```
//! use lb_gpu::{FakeProbe, Sampler};
//! use lb_gpu::reading::DeviceReading;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (probe, _gpus) = FakeProbe::with_devices([DeviceReading::new("GPU-1")]);
//! let sampler = Sampler::start(probe);
//! let snapshot = sampler.ready().await;
//! assert_eq!(snapshot.devices.len(), 1);
//! # }
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::backoff::Backoff;
use crate::clock;
use crate::probe::{Fault, Probe, ProbeError};
use crate::reading::Reading;
use crate::snapshot::{Availability, GpuSnapshot};
use crate::tracker::{Tracker, TrackerConfig};

/// Readings that may wait for the folding task: enough to ride out a busy
/// executor, few enough to never report the past.
const READINGS_IN_TRANSIT: usize = 4;

/// How often to look, and how to judge what was seen.
#[derive(Clone, Debug)]
pub struct SamplerConfig {
    period: Duration,
    backoff: Backoff,
    tracker: TrackerConfig,
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A duration or count is zero.
    #[error("{what} must not be zero")]
    Zero {
        /// Which one.
        what: &'static str,
    },
    /// The sampling period is too short for a driver.
    #[error("a sampling period of {period:?} is under the minimum of 100 ms")]
    PeriodTooShort {
        /// What was asked for.
        period: Duration,
    },
}

/// Collects the settings of a sampler.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct SamplerBuilder {
    period: Duration,
    backoff: Backoff,
    tracker: TrackerConfig,
}

/// A probe at work in the background. See the module docs.
#[derive(Debug)]
#[must_use = "sampling ends when this is dropped"]
pub struct Sampler {
    latest: watch::Receiver<Arc<GpuSnapshot>>,
    task: AbortHandle,
    // Dropping the sender wakes the probe thread and ends it.
    _stop: Sender<()>,
}

// === impl SamplerConfig ===

impl SamplerConfig {
    /// Starts from the defaults named at each setter.
    pub fn builder() -> SamplerBuilder {
        SamplerBuilder {
            period: Duration::from_millis(500),
            backoff: Backoff {
                base: Duration::from_secs(1),
                max: Duration::from_secs(60),
            },
            tracker: TrackerConfig::default(),
        }
    }
}

impl Default for SamplerConfig {
    fn default() -> Self {
        let SamplerBuilder {
            period,
            backoff,
            tracker,
        } = Self::builder();
        Self {
            period,
            backoff,
            tracker,
        }
    }
}

// === impl SamplerBuilder ===

impl SamplerBuilder {
    /// Pause between two looks; at least 100 ms. A snapshot turns stale after
    /// three of them. Default: 500 ms.
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self.tracker.stale_after = period.saturating_mul(3);
        self
    }

    /// Wait before a broken driver is opened again, doubling from `base` up to
    /// `max`. Default: 1 s to 60 s.
    pub fn reopen(mut self, base: Duration, max: Duration) -> Self {
        self.backoff = Backoff { base, max };
        self
    }

    /// Time constant of the load that is used for routing. Default: 5 s.
    pub fn routing_tau(mut self, tau: Duration) -> Self {
        self.tracker.routing_tau = tau;
        self
    }

    /// Time constant of the load that is used for scaling. Default: 30 s.
    pub fn scaling_tau(mut self, tau: Duration) -> Self {
        self.tracker.scaling_tau = tau;
        self
    }

    /// Age at which numbers mean nothing any more. Default: 15 s.
    pub fn unknown_after(mut self, age: Duration) -> Self {
        self.tracker.unknown_after = age;
        self
    }

    /// How long a missing device stays visible. Default: 10 min.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.tracker.retention = retention;
        self
    }

    /// # Errors
    ///
    /// [`ConfigError`] if a duration is zero or the period is under 100 ms.
    pub fn build(self) -> Result<SamplerConfig, ConfigError> {
        if self.period < Duration::from_millis(100) {
            return Err(ConfigError::PeriodTooShort {
                period: self.period,
            });
        }
        for (what, value) in [
            ("reopen base", self.backoff.base),
            ("routing_tau", self.tracker.routing_tau),
            ("scaling_tau", self.tracker.scaling_tau),
            ("unknown_after", self.tracker.unknown_after),
        ] {
            if value.is_zero() {
                return Err(ConfigError::Zero { what });
            }
        }
        let Self {
            period,
            backoff,
            tracker,
        } = self;
        Ok(SamplerConfig {
            period,
            backoff,
            tracker,
        })
    }
}

// === impl Sampler ===

impl Sampler {
    /// Starts looking, with the defaults.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(probe: impl Probe) -> Self {
        Self::start_with(probe, SamplerConfig::default())
    }

    /// Starts looking, with these settings.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start_with(probe: impl Probe, config: SamplerConfig) -> Self {
        let SamplerConfig {
            period,
            backoff,
            tracker,
        } = config;
        let (publish, latest) = watch::channel(Arc::new(GpuSnapshot::starting()));
        let (outcomes, inbox) = mpsc::channel(READINGS_IN_TRANSIT);
        let (stop, stopped) = channel();
        let look = move || look_until_stopped(probe, period, backoff, &outcomes, &stopped);
        // Without a thread there is no outcome: the task then reports that the probe ended.
        if let Err(error) = std::thread::Builder::new()
            .name("lb-gpu-probe".into())
            .spawn(look)
        {
            tracing::warn!(%error, "no thread for the GPU probe");
        }
        let task = tokio::spawn(fold(inbox, publish, Tracker::new(tracker)));
        Self {
            latest,
            task: task.abort_handle(),
            _stop: stop,
        }
    }

    /// The newest snapshot. Never blocks, never fails.
    #[must_use]
    pub fn latest(&self) -> Arc<GpuSnapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// A channel that holds the newest snapshot: wait on it for changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<GpuSnapshot>> {
        self.latest.clone()
    }

    /// Waits for the first answer of the probe, whatever it is.
    pub async fn ready(&self) -> Arc<GpuSnapshot> {
        let mut latest = self.latest.clone();
        let answered = latest
            .wait_for(|snapshot| snapshot.availability != Availability::Starting)
            .await
            .map(|snapshot| Arc::clone(&snapshot));
        // The channel only closes with the runtime; what it held last still stands.
        answered.unwrap_or_else(|_| self.latest())
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === The probe's thread ===

fn look_until_stopped(
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

async fn fold(
    mut inbox: mpsc::Receiver<Result<Reading, ProbeError>>,
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
                    Some(Ok(reading)) => tracker.observe(reading, now),
                    Some(Err(error)) => report_and_fail(&mut tracker, error),
                    None => {
                        alive = false;
                        report_and_fail(&mut tracker, ProbeError::Faulted(Fault::ProbeEnded));
                    }
                }
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
    tracker.fail(error, now);
}
