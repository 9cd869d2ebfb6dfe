//! Settings of the scheduler, checked once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::scheduler::Scheduler;
use super::share::FairShare;
use crate::reading::DeviceId;
use crate::snapshot::GpuSnapshot;

/// Name of the device when there is only one and nobody named it.
const ONLY_DEVICE: &str = "gpu";

/// Weights that a tenant may have, from a millionth to a million. With less, seconds of
/// one tenant would be so long that the turns of all others drown in their rounding.
pub const WEIGHTS: RangeInclusive<f64> = 1e-6..=1e6;

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// There is nothing to share.
    #[error("there is no device with a slot")]
    NoSlots,
    /// A weight must lie within [`WEIGHTS`].
    #[error("tenant {tenant:?} has the weight {weight}, which is not between {} and {}", WEIGHTS.start(), WEIGHTS.end())]
    Weight {
        /// Whose weight.
        tenant: String,
        /// What was given.
        weight: f64,
    },
    /// A limit is zero.
    #[error("{what} must not be zero")]
    Zero {
        /// Which one.
        what: &'static str,
    },
    /// Two devices have one name.
    #[error("device {0} is named twice")]
    Duplicate(DeviceId),
    /// Two tenants have one name.
    #[error("tenant {0:?} is named twice")]
    DuplicateTenant(String),
}

/// Collects the settings of a [`FairShare`] or a [`Scheduler`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    only: (u32, Option<u64>),
    pub(super) devices: Vec<(DeviceId, u32, Option<u64>)>,
    pub(super) tenants: Vec<(String, f64)>,
    pub(super) limits: Limits,
}

/// What bounds the scheduler.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) stranger_weight: Option<f64>,
    pub(super) tenants: usize,
    pub(super) waiting_per_tenant: usize,
    pub(super) waiting: usize,
    pub(super) reserve_after: Option<Duration>,
    pub(super) lookahead: usize,
    pub(super) expected: Option<Duration>,
    pub(super) headroom_bytes: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            only: (0, None),
            devices: Vec::new(),
            tenants: Vec::new(),
            limits: Limits {
                stranger_weight: None,
                tenants: 1_000,
                waiting_per_tenant: 1_000,
                waiting: 10_000,
                reserve_after: Some(Duration::from_secs(10)),
                lookahead: 16,
                expected: None,
                headroom_bytes: 0,
            },
        }
    }
}

impl Builder {
    /// Slots of the only device. Use [`device`](Self::device) for several.
    pub fn slots(mut self, slots: u32) -> Self {
        self.only.0 = slots;
        self
    }

    /// Memory of the only device. Default: not counted.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.only.1 = Some(bytes);
        self
    }

    /// Adds a device with this many slots; `memory_bytes` of `None` is not counted.
    pub fn device(
        mut self,
        id: impl Into<DeviceId>,
        slots: u32,
        memory_bytes: Option<u64>,
    ) -> Self {
        self.devices.push((id.into(), slots, memory_bytes));
        self
    }

    /// Adds every device of a snapshot with this many slots each.
    pub fn devices_of(mut self, snapshot: &GpuSnapshot, slots_each: u32) -> Self {
        self.devices.extend(snapshot.devices.iter().map(|device| {
            let memory = device
                .reading
                .metrics
                .memory
                .map(|memory| memory.usable_bytes());
            (device.id().clone(), slots_each, memory)
        }));
        self
    }

    /// Adds a tenant. Twice the weight, twice the share; within [`WEIGHTS`].
    pub fn tenant(mut self, name: impl Into<String>, weight: f64) -> Self {
        self.tenants.push((name.into(), weight));
        self
    }

    /// Admits tenants that were never named, with this weight. Default: refused.
    pub fn strangers(mut self, weight: f64) -> Self {
        self.limits.stranger_weight = Some(weight);
        self
    }

    /// Most tenants at once, strangers included. Idle strangers are forgotten
    /// when the place is needed. Default: 1,000.
    pub fn max_tenants(mut self, count: usize) -> Self {
        self.limits.tenants = count;
        self
    }

    /// Most requests that may wait: of one tenant, and in all. Default: 1,000 and 10,000.
    pub fn max_waiting(mut self, per_tenant: usize, in_all: usize) -> Self {
        self.limits.waiting_per_tenant = per_tenant;
        self.limits.waiting = in_all;
        self
    }

    /// How long smaller requests may overtake one that is first in line and
    /// does not fit. Zero: never. Default: 10 s.
    pub fn reserve_after(mut self, wait: Duration) -> Self {
        self.limits.reserve_after = Some(wait);
        self
    }

    /// Lets smaller requests overtake for ever. A large request may then starve:
    /// here for comparison, not for use.
    pub fn never_reserve(mut self) -> Self {
        self.limits.reserve_after = None;
        self
    }

    /// How many tenants are looked at for somebody who fits when the first in
    /// line does not. Default: 16.
    pub fn lookahead(mut self, tenants: usize) -> Self {
        self.limits.lookahead = tenants;
        self
    }

    /// Holding time that a tenant without history pays in advance. Default: none,
    /// it pays as it goes.
    pub fn expected(mut self, duration: Duration) -> Self {
        self.limits.expected = Some(duration);
        self
    }

    /// Memory of each device that is never given away. Default: none.
    pub fn headroom_bytes(mut self, bytes: u64) -> Self {
        self.limits.headroom_bytes = bytes;
        self
    }

    /// # Errors
    ///
    /// [`InvalidConfig`] without any slot, with a weight outside of [`WEIGHTS`],
    /// with a limit of zero, or a device or a tenant named twice.
    pub fn build(self) -> Result<FairShare, InvalidConfig> {
        self.build_scheduler().map(FairShare::new)
    }

    /// The pure scheduler alone, for simulations.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_scheduler(mut self) -> Result<Scheduler, InvalidConfig> {
        if self.only.0 > 0 {
            self.devices
                .push((ONLY_DEVICE.into(), self.only.0, self.only.1));
        }
        self.check()?;
        Ok(Scheduler::new(self))
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        if self.devices.iter().all(|(_, slots, _)| *slots == 0) {
            return Err(InvalidConfig::NoSlots);
        }
        for (index, (id, ..)) in self.devices.iter().enumerate() {
            if self.devices[..index].iter().any(|(other, ..)| other == id) {
                return Err(InvalidConfig::Duplicate(id.clone()));
            }
        }
        let mut names = BTreeSet::new();
        if let Some((twice, _)) = self.tenants.iter().find(|(name, _)| !names.insert(name)) {
            return Err(InvalidConfig::DuplicateTenant(twice.clone()));
        }
        let strangers = self
            .limits
            .stranger_weight
            .map(|weight| ("strangers".to_owned(), weight));
        for (tenant, weight) in self.tenants.iter().chain(&strangers) {
            if !WEIGHTS.contains(weight) {
                return Err(InvalidConfig::Weight {
                    tenant: tenant.clone(),
                    weight: *weight,
                });
            }
        }
        for (what, zero) in [
            ("max_tenants", self.limits.tenants == 0),
            (
                "max_waiting",
                self.limits.waiting == 0 || self.limits.waiting_per_tenant == 0,
            ),
            ("lookahead", self.limits.lookahead == 0),
            (
                "expected",
                self.limits.expected.is_some_and(|guess| guess.is_zero()),
            ),
        ] {
            if zero {
                return Err(InvalidConfig::Zero { what });
            }
        }
        Ok(())
    }
}
