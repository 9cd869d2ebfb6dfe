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

mod config;
mod work;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

pub use config::{ConfigError, SamplerBuilder, SamplerConfig};

use crate::probe::Probe;
use crate::reading::DeviceId;
use crate::snapshot::{Availability, GpuSnapshot};
use crate::tracker::Tracker;
use work::{Command, fold, look_until_stopped};

/// Readings that may wait for the folding task: enough to ride out a busy
/// executor, few enough to never report the past.
const READINGS_IN_TRANSIT: usize = 4;
/// Commands of operators that may wait.
const COMMANDS_IN_TRANSIT: usize = 16;

/// What a sampler knows and what can be asked of it. Clones share it; it does
/// not keep the sampler running.
#[derive(Clone, Debug)]
pub struct Handle {
    latest: watch::Receiver<Arc<GpuSnapshot>>,
    commands: mpsc::Sender<Command>,
}

/// A probe at work in the background. See the module docs.
#[derive(Debug)]
#[must_use = "sampling ends when this is dropped"]
pub struct Sampler {
    handle: Handle,
    task: AbortHandle,
    // Dropping the sender wakes the probe thread and ends it.
    _stop: Sender<()>,
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
        let (commands, orders) = mpsc::channel(COMMANDS_IN_TRANSIT);
        let task = tokio::spawn(fold(inbox, orders, publish, Tracker::new(tracker)));
        Self {
            handle: Handle { latest, commands },
            task: task.abort_handle(),
            _stop: stop,
        }
    }

    /// The newest snapshot. Never blocks, never fails.
    #[must_use]
    pub fn latest(&self) -> Arc<GpuSnapshot> {
        self.handle.latest()
    }

    /// A channel that holds the newest snapshot: wait on it for changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<GpuSnapshot>> {
        self.handle.latest.clone()
    }

    /// Waits for the first answer of the probe, whatever it is.
    pub async fn ready(&self) -> Arc<GpuSnapshot> {
        let mut latest = self.subscribe();
        let answered = latest
            .wait_for(|snapshot| snapshot.availability != Availability::Starting)
            .await
            .map(|snapshot| Arc::clone(&snapshot));
        // The channel only closes with the runtime; what it held last still stands.
        answered.unwrap_or_else(|_| self.latest())
    }

    /// Something to hand to others who read, or repair.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

// === impl Handle ===

impl Handle {
    /// The newest snapshot. Once the sampler is gone, the last one.
    #[must_use]
    pub fn latest(&self) -> Arc<GpuSnapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// Declares a device healthy again: for a human who repaired it. What is
    /// still wrong shows at the next look. `false` if the device is not known,
    /// or the sampler is gone.
    pub async fn clear_health(&self, id: &DeviceId) -> bool {
        let (answer, answered) = oneshot::channel();
        let order = Command::ClearHealth {
            id: id.clone(),
            answer,
        };
        self.commands.send(order).await.is_ok() && answered.await.unwrap_or(false)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}
