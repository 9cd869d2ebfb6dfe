//! What is known about the machine's GPUs right now.
//!
//! A [`GpuSnapshot`] is an immutable value; the [`Sampler`](crate::Sampler)
//! publishes a new one after every look and whenever the old one goes stale.
//! Each device carries its latest raw [`Metrics`](crate::reading::Metrics) and
//! what only memory can add: smoothed load, a monotonic busy counter, XID
//! counts, and whether it was there at the last look.
//!
//! Age is part of the truth. A snapshot is [`Freshness::Fresh`] for three
//! sampling periods, then [`Freshness::Stale`] (last values kept, trust them
//! less), and [`Freshness::Unknown`] after 15 s, or four periods if that is
//! longer. Unknown has to mean *neutral* wherever load is compared: never idle,
//! never full. [`GpuSnapshot::load`] therefore answers `None` then.
//!
//! ```
//! use lb_gpu::snapshot::{Availability, GpuSnapshot};
//! use lb_gpu::probe::AbsentReason;
//!
//! let snapshot = GpuSnapshot::absent(AbsentReason::NoLibrary);
//! assert_eq!(snapshot.absence(), Some(AbsentReason::NoLibrary));
//! assert!(snapshot.devices.is_empty());
//! assert_eq!(snapshot.availability, Availability::Absent(AbsentReason::NoLibrary));
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::health::{Cause, Health, Verdict};
use crate::probe::{AbsentReason, Fault};
use crate::ratio::Ratio;
use crate::reading::{DeviceId, DeviceReading, DriverInfo};

/// What is known about the machine's GPUs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GpuSnapshot {
    /// Is there anything to look at?
    pub availability: Availability,
    /// How far the numbers can be trusted.
    pub freshness: Freshness,
    /// When the latest reading came in; `None` before the first one.
    pub taken_at: Option<Instant>,
    /// How long that look took.
    pub took: Option<Duration>,
    /// Versions of the driver stack.
    pub driver: DriverInfo,
    /// Every device that is there or was there a while ago, by UUID.
    pub devices: Vec<GpuDevice>,
    /// Devices that are present but could not tell their UUID.
    pub nameless_devices: u32,
    /// How often the driver was opened anew after it had worked.
    pub reinits: u64,
}

/// Is there anything to look at?
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Availability {
    /// Nobody has looked yet.
    Starting,
    /// Devices are being sampled.
    Present,
    /// This machine has no GPU: a normal answer.
    Absent(AbsentReason),
    /// The driver stack does not work right now; it is tried again.
    Faulted(Fault),
}

/// How far the numbers of a snapshot can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Freshness {
    /// As new as can be expected.
    Fresh,
    /// Overdue: the driver may be stuck. The last values still stand.
    Stale,
    /// Too old to mean anything, or never known. Treat as neutral.
    Unknown,
}

/// One device: the latest reading, and what memory adds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GpuDevice {
    /// The latest reading of this device.
    pub reading: DeviceReading,
    /// `false` once the device was missing at a look.
    pub present: bool,
    /// Smoothed over the routing constant (default 5 s).
    pub busy_routing: Option<Ratio>,
    /// Smoothed over the scaling constant (default 30 s).
    pub busy_scaling: Option<Ratio>,
    /// Time that the device was busy, summed up like CPU seconds. Only grows.
    /// Gaps longer than the staleness limit are not guessed at.
    pub busy_seconds: f64,
    /// Time spent under each throttle reason, by label. Only grows.
    pub throttled_seconds: BTreeMap<&'static str, f64>,
    /// XID errors by number: lower bounds, see [`EventKind`](crate::reading::EventKind).
    pub xid_errors: BTreeMap<u64, u64>,
    /// The latest XID number.
    pub last_xid: Option<u64>,
    /// Fit for work, and if not, why.
    pub health: Health,
}

impl GpuDevice {
    /// A device of which nothing is left but its name.
    fn missing(id: &DeviceId, since: Instant) -> Self {
        let health = Health {
            verdict: Verdict::Unfit,
            cause: Some(Cause::Missing),
            since,
            weight: Ratio::IDLE,
        };
        Self {
            reading: DeviceReading::new(id.clone()),
            present: false,
            busy_routing: None,
            busy_scaling: None,
            busy_seconds: 0.0,
            throttled_seconds: BTreeMap::new(),
            xid_errors: BTreeMap::new(),
            last_xid: None,
            health,
        }
    }

    /// The UUID.
    #[must_use]
    pub fn id(&self) -> &DeviceId {
        &self.reading.id
    }
}

// === impl GpuSnapshot ===

impl GpuSnapshot {
    /// Nobody has looked yet.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            availability: Availability::Starting,
            freshness: Freshness::Unknown,
            taken_at: None,
            took: None,
            driver: DriverInfo::default(),
            devices: Vec::new(),
            nameless_devices: 0,
            reinits: 0,
        }
    }

    /// A machine without a GPU.
    #[must_use]
    pub fn absent(reason: AbsentReason) -> Self {
        Self {
            availability: Availability::Absent(reason),
            ..Self::starting()
        }
    }

    /// Why there is no GPU; `None` if there is one, or nobody knows yet.
    #[must_use]
    pub fn absence(&self) -> Option<AbsentReason> {
        match self.availability {
            Availability::Absent(reason) => Some(reason),
            _ => None,
        }
    }

    /// The device with this UUID.
    #[must_use]
    pub fn device(&self, id: &DeviceId) -> Option<&GpuDevice> {
        self.devices.iter().find(|device| device.id() == id)
    }

    /// What this looks like to somebody who works on these devices and no others:
    /// a process that was given one GPU of many judges itself by that one. Slices
    /// of a device belong to it. A device that is not there, even one that is
    /// forgotten by now, counts as missing and unfit; before the first reading
    /// nothing is known of any. O(devices).
    ///
    /// ```
    /// use lb_gpu::GpuSnapshot;
    /// use lb_gpu::probe::AbsentReason;
    ///
    /// let none = GpuSnapshot::absent(AbsentReason::NoDriver);
    /// assert!(none.restricted_to(&["GPU-1".into()]).devices.is_empty());
    /// ```
    #[must_use]
    pub fn restricted_to(&self, ids: &[DeviceId]) -> Self {
        let belongs = |device: &&GpuDevice| {
            let parent = device.reading.mig.as_ref().map(|mig| &mig.parent);
            ids.contains(device.id()) || parent.is_some_and(|parent| ids.contains(parent))
        };
        let unknown = ids.iter().filter(|id| self.device(id).is_none());
        let missing = self
            .taken_at
            .into_iter()
            .flat_map(|at| unknown.clone().map(move |id| GpuDevice::missing(id, at)));
        Self {
            devices: self
                .devices
                .iter()
                .filter(belongs)
                .cloned()
                .chain(missing)
                .collect(),
            ..self.clone()
        }
    }

    /// Age of the numbers; `None` before the first reading.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.taken_at.map(|at| now.saturating_duration_since(at))
    }
}
