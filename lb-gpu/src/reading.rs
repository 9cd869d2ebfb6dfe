//! What a probe saw in one look at the machine.
//!
//! A [`Reading`] is raw truth: nothing is smoothed, remembered or judged here.
//! Every metric is optional, because every metric is missing somewhere: on
//! consumer cards (ECC), inside containers (processes), under MIG (the parent's
//! utilisation) or in old drivers. `None` means "cannot be known"; zero means
//! zero.
//!
//! Units are in the names: bytes, watts, joules, hertz, degrees Celsius.
//! Shares are [`Ratio`]s. Note what the two utilisations are *not*:
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

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ratio::Ratio;

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

/// The numbers of one device. All optional, see the module docs.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Metrics {
    /// Share of the driver's last window with at least one kernel running.
    pub busy: Option<Ratio>,
    /// Share of the driver's last window in which the memory bus was active.
    pub membus: Option<Ratio>,
    /// Memory by state.
    pub memory: Option<Memory>,
    /// Die temperature.
    pub temperature_celsius: Option<u32>,
    /// Temperature of the memory.
    pub memory_temperature_celsius: Option<u32>,
    /// Power draw now.
    pub power_watts: Option<f64>,
    /// Power limit that is being enforced.
    pub power_limit_watts: Option<f64>,
    /// Energy since the driver was loaded.
    pub energy_joules: Option<f64>,
    /// Clock of the streaming multiprocessors now.
    pub sm_clock_hertz: Option<u64>,
    /// Highest clock that the multiprocessors could have.
    pub sm_clock_max_hertz: Option<u64>,
    /// Memory clock now.
    pub memory_clock_hertz: Option<u64>,
    /// Why the clocks are lower than they could be.
    pub throttle: Option<Throttle>,
    /// Video encoder.
    pub encoder: Option<Ratio>,
    /// Video decoder.
    pub decoder: Option<Ratio>,
    /// ECC errors.
    pub ecc: EccErrors,
    /// Memory rows that were replaced by spare ones.
    pub remapped_rows: RemappedRows,
    /// What the driver itself recommends.
    pub recovery_action: Option<RecoveryAction>,
    /// PCIe packets that had to be sent again, since the driver was loaded.
    pub pcie_replays: Option<u64>,
    /// Bytes sent over PCIe, since the driver was loaded.
    pub pcie_sent_bytes: Option<u64>,
    /// Bytes received over PCIe, since the driver was loaded.
    pub pcie_received_bytes: Option<u64>,
    /// NVLink checksum, replay and recovery errors together.
    pub nvlink_errors: Option<u64>,
    /// Who is using the device. Identifiers are those of the host.
    pub processes: Option<Vec<Process>>,
}

/// Device memory by state: `total = used + reserved + free`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Memory {
    /// Installed.
    pub total_bytes: u64,
    /// Allocated by processes.
    pub used_bytes: u64,
    /// Kept back by the driver.
    pub reserved_bytes: u64,
    /// Neither.
    pub free_bytes: u64,
}

impl Memory {
    /// What processes could have at most.
    #[must_use]
    pub fn usable_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.reserved_bytes)
    }

    /// Used share of the usable memory; `None` without any.
    #[must_use]
    pub fn occupied(&self) -> Option<Ratio> {
        Ratio::of(self.used_bytes, self.usable_bytes())
    }
}

/// Totals of memory errors. *Volatile* counts restart with the driver,
/// *aggregate* counts live as long as the board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EccErrors {
    /// Corrected since the driver was loaded.
    pub corrected_volatile: Option<u64>,
    /// Not correctable, since the driver was loaded.
    pub uncorrected_volatile: Option<u64>,
    /// Corrected in the board's life.
    pub corrected_aggregate: Option<u64>,
    /// Not correctable, in the board's life.
    pub uncorrected_aggregate: Option<u64>,
}

/// State of the row remapper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RemappedRows {
    /// Rows replaced after correctable errors.
    pub correctable: Option<u64>,
    /// Rows replaced after uncorrectable errors.
    pub uncorrectable: Option<u64>,
    /// A replacement waits for a reset.
    pub pending: Option<bool>,
    /// A replacement failed: no spare rows are left.
    pub failed: Option<bool>,
}

/// The driver's own advice, field 230 of NVML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum RecoveryAction {
    /// Nothing to do.
    None,
    /// Reset the device.
    Reset,
    /// Reboot the machine.
    Reboot,
    /// Drain peer-to-peer traffic.
    DrainP2p,
    /// Drain everything, then reset.
    DrainAndReset,
    /// Something that this version has no name for.
    Other(u32),
}

impl From<u32> for RecoveryAction {
    fn from(code: u32) -> Self {
        match code {
            0 => Self::None,
            1 => Self::Reset,
            2 => Self::Reboot,
            3 => Self::DrainP2p,
            4 => Self::DrainAndReset,
            other => Self::Other(other),
        }
    }
}

/// Who uses a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Process {
    /// Process identifier in the host's namespace: inside a container it need
    /// not match anything in `/proc`.
    pub pid: u32,
    /// Memory that it holds; `None` where the driver may not tell.
    pub memory_bytes: Option<u64>,
    /// MIG slice that it runs on: GPU instance.
    pub gpu_instance: Option<u32>,
    /// MIG slice that it runs on: compute instance.
    pub compute_instance: Option<u32>,
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

/// Why clocks are lower than they could be: NVML's bit mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Throttle(pub u64);

/// One reason of a [`Throttle`] mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ThrottleReason {
    /// Software keeps the draw below the power limit: normal under full load.
    SwPowerCap,
    /// Hardware halved the clocks or worse.
    HwSlowdown,
    /// Software lowers clocks because of heat.
    SwThermal,
    /// Hardware lowers clocks because of heat.
    HwThermal,
    /// The power supply pulled the brake.
    HwPowerBrake,
}

impl ThrottleReason {
    /// All reasons that say something about health or load.
    pub const ALL: [Self; 5] = [
        Self::SwPowerCap,
        Self::HwSlowdown,
        Self::SwThermal,
        Self::HwThermal,
        Self::HwPowerBrake,
    ];

    /// The bit in NVML's mask.
    #[must_use]
    pub const fn bit(self) -> u64 {
        match self {
            Self::SwPowerCap => 0x04,
            Self::HwSlowdown => 0x08,
            Self::SwThermal => 0x20,
            Self::HwThermal => 0x40,
            Self::HwPowerBrake => 0x80,
        }
    }

    /// The name as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SwPowerCap => "sw_power_cap",
            Self::HwSlowdown => "hw_slowdown",
            Self::SwThermal => "sw_thermal",
            Self::HwThermal => "hw_thermal",
            Self::HwPowerBrake => "hw_power_brake",
        }
    }
}

impl Throttle {
    /// Nothing runs, so clocks are low. Not one of [`ThrottleReason`]: it is no complaint.
    pub const GPU_IDLE: u64 = 0x01;

    /// `true` while the reason holds.
    #[must_use]
    pub fn has(self, reason: ThrottleReason) -> bool {
        self.0 & reason.bit() != 0
    }
}
