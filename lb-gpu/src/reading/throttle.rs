//! Why clocks are lower than they could be.

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
