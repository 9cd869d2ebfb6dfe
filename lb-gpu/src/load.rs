//! One number for the balancer, one for the autoscaler, and what they are made of.
//!
//! [`GpuSnapshot::load`](crate::GpuSnapshot::load) averages over the devices
//! that can do work: present, not unfit, not a MIG parent (its slices count
//! instead). Within a device the **dominant** resource decides, as in dominant
//! resource fairness: a weighted mean would hide a full memory behind an idle
//! processor. [`LoadReport::weighted`] is there for those who want it anyway.
//!
//! A number that cannot be known is `None`, and so is everything once the
//! snapshot's freshness is unknown: a balancer must fall back to what it counts
//! itself, not send everything to the machine that fell silent.
//!
//! The names match the utilisation keys of ORCA load reports: `gpu`, `gpu_mem`.
//!
//! ```
//! use lb_gpu::Ratio;
//! use lb_gpu::load::LoadReport;
//!
//! let report = LoadReport {
//!     gpu: Ratio::percent(10),
//!     gpu_mem: Ratio::percent(90),
//!     ..LoadReport::default()
//! };
//! assert_eq!(report.dominant(), Ratio::percent(90)); // memory is what runs out first
//! let slots = Ratio::FULL;
//! assert_eq!(LoadReport { slots: Some(slots), ..report }.dominant(), Some(slots));
//! ```

use crate::health::Verdict;
use crate::ratio::Ratio;
use crate::snapshot::{Freshness, GpuDevice, GpuSnapshot};

/// How loaded the GPUs of one machine are. `None` is "cannot be known".
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LoadReport {
    /// Busy share, smoothed for routing.
    pub gpu: Option<Ratio>,
    /// Used share of the usable memory.
    pub gpu_mem: Option<Ratio>,
    /// Mean over the devices of each one's larger share.
    pub per_device: Option<Ratio>,
    /// Busy share, smoothed for scaling.
    pub gpu_scaling: Option<Ratio>,
    /// Share of the slots in use, if the application has slots.
    pub slots: Option<Ratio>,
}

/// Whether this machine should get work at all, and how much of its share.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HealthSignal {
    /// `false` only when every device is unfit.
    pub fit: bool,
    /// Mean of the devices' weights.
    pub weight: Ratio,
    /// What speaks against the worst device.
    pub cause: Option<String>,
}

impl LoadReport {
    /// The resource that runs out first.
    #[must_use]
    pub fn dominant(&self) -> Option<Ratio> {
        let largest = [self.per_device, self.gpu, self.gpu_mem, self.slots]
            .into_iter()
            .flatten()
            .map(Ratio::get)
            .reduce(f64::max);
        largest.and_then(Ratio::saturating)
    }

    /// Weighted mean of busy share and memory share; what is unknown takes no
    /// part. `None` if nothing is known or no weight is positive.
    #[must_use]
    pub fn weighted(&self, busy: f64, memory: f64) -> Option<Ratio> {
        let known = [(self.gpu, busy), (self.gpu_mem, memory)]
            .into_iter()
            .filter_map(|(share, weight)| Some((share?.get(), weight.max(0.0))));
        let (sum, weights) = known.fold((0.0, 0.0), |(sum, all), (share, weight)| {
            (sum + share * weight, all + weight)
        });
        Ratio::saturating(sum / weights)
    }
}

// === impl GpuSnapshot ===

impl GpuSnapshot {
    /// How loaded the machine is, with the share of slots in use if there are any.
    #[must_use]
    pub fn load(&self, slots: Option<Ratio>) -> LoadReport {
        if self.freshness == Freshness::Unknown {
            return LoadReport {
                slots,
                ..LoadReport::default()
            };
        }
        let able: Vec<_> = self
            .working_units()
            .filter(|device| device.is_able())
            .collect();
        let mean_of =
            |share: fn(&GpuDevice) -> Option<Ratio>| mean(able.iter().filter_map(|d| share(d)));
        LoadReport {
            gpu: mean_of(|device| device.busy_routing),
            gpu_mem: mean_of(GpuDevice::memory_share),
            per_device: mean_of(GpuDevice::dominant_share),
            gpu_scaling: mean_of(|device| device.busy_scaling),
            slots,
        }
    }

    /// Whether this machine should get work. A machine that never had a GPU is
    /// fit: it may not need one.
    #[must_use]
    pub fn health_signal(&self) -> HealthSignal {
        let units: Vec<_> = self.working_units().collect();
        let worst = units
            .iter()
            .filter(|device| device.health.cause.is_some())
            .max_by_key(|device| device.health.verdict);
        HealthSignal {
            fit: units.is_empty()
                || units
                    .iter()
                    .any(|device| device.health.verdict < Verdict::Unfit),
            weight: mean(units.iter().map(|device| device.health.weight)).unwrap_or(Ratio::FULL),
            cause: worst.and_then(|device| {
                device
                    .health
                    .cause
                    .map(|cause| format!("{}: {cause}", device.id()))
            }),
        }
    }

    /// Devices and slices that take work: a device cut into slices is not one of them.
    fn working_units(&self) -> impl Iterator<Item = &GpuDevice> {
        let parents: Vec<_> = self
            .devices
            .iter()
            .filter(|device| device.present)
            .filter_map(|device| device.reading.mig.as_ref().map(|mig| mig.parent.clone()))
            .collect();
        self.devices
            .iter()
            .filter(move |device| !parents.contains(device.id()))
    }
}

// === impl GpuDevice ===

impl GpuDevice {
    fn is_able(&self) -> bool {
        self.present && self.health.verdict < Verdict::Unfit
    }

    fn memory_share(&self) -> Option<Ratio> {
        self.reading
            .metrics
            .memory
            .and_then(|memory| memory.occupied())
    }

    fn dominant_share(&self) -> Option<Ratio> {
        let shares = [self.busy_routing, self.memory_share()];
        shares
            .into_iter()
            .flatten()
            .map(Ratio::get)
            .reduce(f64::max)
            .and_then(Ratio::saturating)
    }
}

fn mean(shares: impl Iterator<Item = Ratio>) -> Option<Ratio> {
    let (sum, count) = shares.fold((0.0, 0), |(sum, count), share| {
        (sum + share.get(), count + 1)
    });
    (count > 0)
        .then(|| sum / f64::from(count))
        .and_then(Ratio::saturating)
}
