//! A probe without hardware, for tests and for machines that pretend.
//!
//! [`FakeProbe`] shares its state with a [`FakeGpus`] handle: change the handle
//! and the next reading shows it. It exercises everything above the driver. The
//! driver contract itself is exercised by a fake library, loaded by the real
//! wrapper, in this crate's integration tests.
//!
//! ```
//! use std::ops::ControlFlow;
//! use lb_gpu::FakeProbe;
//! use lb_gpu::probe::Probe;
//! use lb_gpu::reading::DeviceReading;
//!
//! let (mut probe, gpus) = FakeProbe::with_devices([DeviceReading::new("GPU-1")]);
//! gpus.update(|devices| devices.push(DeviceReading::new("GPU-2")));
//! let mut seen = 0;
//! probe.watch(&mut |reading| {
//!     seen = reading.devices.len();
//!     ControlFlow::Break(())
//! })?;
//! assert_eq!(seen, 2);
//! # Ok::<(), lb_gpu::probe::ProbeError>(())
//! ```

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::probe::{AbsentReason, Probe, ProbeError};
use crate::reading::{DeviceId, DeviceReading, Event, EventKind, Reading};

/// A probe that reports what it is told to. See the module docs.
#[derive(Debug)]
pub struct FakeProbe {
    gpus: FakeGpus,
}

/// What a [`FakeProbe`] reports; clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeGpus {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    devices: Vec<DeviceReading>,
    events: Vec<Event>,
    error: Option<ProbeError>,
}

impl FakeProbe {
    /// A machine with these devices, and the handle that changes them.
    pub fn with_devices(devices: impl IntoIterator<Item = DeviceReading>) -> (Self, FakeGpus) {
        let gpus = FakeGpus::default();
        gpus.lock().devices = devices.into_iter().collect();
        (Self { gpus: gpus.clone() }, gpus)
    }

    /// A machine without a GPU.
    #[must_use]
    pub fn absent(reason: AbsentReason) -> Self {
        let gpus = FakeGpus::default();
        gpus.fail(ProbeError::Absent(reason));
        Self { gpus }
    }
}

impl Probe for FakeProbe {
    fn watch(
        &mut self,
        sink: &mut dyn FnMut(Reading) -> ControlFlow<()>,
    ) -> Result<(), ProbeError> {
        loop {
            let reading = self.gpus.read()?;
            if sink(reading).is_break() {
                return Ok(());
            }
        }
    }
}

impl FakeGpus {
    /// Changes the devices.
    pub fn update(&self, change: impl FnOnce(&mut Vec<DeviceReading>)) {
        change(&mut self.lock().devices);
    }

    /// Raises an XID error, reported with the next reading.
    pub fn raise_xid(&self, device: impl Into<DeviceId>, number: u64) {
        self.lock().events.push(Event {
            device: device.into(),
            kind: EventKind::Xid(number),
        });
    }

    /// From now on every look fails like this.
    pub fn fail(&self, error: ProbeError) {
        self.lock().error = Some(error);
    }

    /// Looks work again.
    pub fn recover(&self) {
        self.lock().error = None;
    }

    fn read(&self) -> Result<Reading, ProbeError> {
        let mut state = self.lock();
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        Ok(Reading {
            devices: state.devices.clone(),
            events: std::mem::take(&mut state.events),
            ..Reading::default()
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A closure of a test may have panicked; the state is plain data all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
