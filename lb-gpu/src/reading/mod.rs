//! What a probe saw in one look at the machine.
//!
//! A [`Reading`] is raw truth: nothing is smoothed, remembered or judged here.
//! Every metric is optional, because every metric is missing somewhere: on
//! consumer cards (ECC), inside containers (processes), under MIG (the parent's
//! utilisation) or in old drivers. `None` means "cannot be known"; zero means
//! zero.
//!
//! Units are in the names: bytes, watts, joules, hertz, degrees Celsius.
//! Shares are [`Ratio`](crate::Ratio)s. Note what the two utilisations are *not*:
//! [`Metrics::busy`] is the share of the last sampling window (1/6 s to 1 s)
//! with at least one kernel running, so one tiny kernel shows as 100 %; and
//! [`Metrics::membus`] is activity of the memory bus, not memory occupied.
//!
//! ```
//! use lb_gpu::reading::{DeviceReading, Memory, Metrics};
//!
//! let mut gpu = DeviceReading::new("GPU-1234");
//! gpu.metrics.memory = Some(Memory { total_bytes: 80, used_bytes: 20, reserved_bytes: 0, free_bytes: 60 });
//! assert_eq!(gpu.metrics.memory.and_then(|memory| memory.occupied()).map(|r| r.get()), Some(0.25));
//! assert_eq!(gpu.metrics.busy, None); // nobody looked: unknown, not idle
//! ```

mod metrics;
mod throttle;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use metrics::{EccErrors, Memory, Metrics, Process, RecoveryAction, RemappedRows};
pub use throttle::{Throttle, ThrottleReason};

/// The only stable name of a device: its UUID. Index and PCI address shift when
/// a neighbour falls off the bus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// The UUID as text, for example `GPU-5ae0...` or `MIG-77c1...`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DeviceId {
    fn from(uuid: &str) -> Self {
        Self(uuid.into())
    }
}

impl From<String> for DeviceId {
    fn from(uuid: String) -> Self {
        Self(uuid.into())
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for DeviceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// One look at the whole machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Versions of the driver stack.
    pub driver: DriverInfo,
    /// Every device that could be named, MIG instances after their parent.
    pub devices: Vec<DeviceReading>,
    /// Devices that are present but could not even tell their UUID.
    pub nameless_devices: u32,
    /// What the driver reported since the previous look.
    pub events: Vec<Event>,
    /// How long the look took.
    pub took: Duration,
}

/// Versions of the driver stack, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DriverInfo {
    /// Kernel driver, for example `580.159.03`.
    pub driver_version: Option<String>,
    /// Management library.
    pub library_version: Option<String>,
    /// Newest CUDA that the driver can serve, as `(major, minor)`.
    pub cuda_version: Option<(i32, i32)>,
}

/// One device at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DeviceReading {
    /// The UUID.
    pub id: DeviceId,
    /// Position in the driver's list today; shifts. `None` for MIG instances.
    pub index: Option<u32>,
    /// Product name.
    pub name: Option<String>,
    /// PCI address, for example `00000000:3B:00.0`.
    pub pci_bus_id: Option<String>,
    /// Set when this is an instance carved out of a larger device.
    pub mig: Option<MigInstance>,
    /// Set when the device answers, but only to say that it is broken.
    pub fault: Option<DeviceFault>,
    /// The numbers.
    pub metrics: Metrics,
}

impl DeviceReading {
    /// A device about which nothing is known but its name.
    pub fn new(id: impl Into<DeviceId>) -> Self {
        Self {
            id: id.into(),
            index: None,
            name: None,
            pci_bus_id: None,
            mig: None,
            fault: None,
            metrics: Metrics::default(),
        }
    }
}

/// Where a MIG instance belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MigInstance {
    /// The device that it is a slice of.
    pub parent: DeviceId,
    /// Position within the parent.
    pub index: u32,
    /// Streaming multiprocessors that belong to the slice.
    pub multiprocessors: Option<u32>,
}

/// Why a device is present but useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DeviceFault {
    /// It fell off the bus.
    Lost,
    /// It wants a reset before anything else.
    ResetRequired,
}

/// Something that the driver reported of its own accord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The device that it concerns.
    pub device: DeviceId,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// An XID error. NVML reports only the latest number when several came
    /// between two looks, so counts of a given XID are lower bounds.
    Xid(u64),
}
