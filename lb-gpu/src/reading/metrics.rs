//! The numbers of one device.

use super::Throttle;
use crate::ratio::Ratio;

/// The numbers of one device. All optional: `None` is "cannot be known".
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
