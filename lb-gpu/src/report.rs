//! A snapshot as a document: ages instead of instants, ready for JSON.

use std::time::Instant;

use serde::Serialize;

use crate::health::Verdict;
use crate::load::{HealthSignal, LoadReport};
use crate::ratio::Ratio;
use crate::reading::{DeviceReading, DriverInfo};
use crate::snapshot::{Availability, Freshness, GpuDevice, GpuSnapshot};

/// A snapshot as a document.
///
/// ```
/// use std::time::Instant;
/// use lb_gpu::GpuSnapshot;
/// use lb_gpu::probe::AbsentReason;
/// use lb_gpu::report::GpuReport;
///
/// # #[expect(clippy::disallowed_methods)]
/// let now = Instant::now();
/// let report = GpuReport::new(&GpuSnapshot::absent(AbsentReason::NoDriver), now);
/// assert_eq!(report.reason.as_deref(), Some("the driver is not loaded"));
/// assert!(report.signal.fit);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GpuReport {
    /// `starting`, `present`, `absent` or `faulted`.
    pub availability: &'static str,
    /// Why there is nothing to see, in words.
    pub reason: Option<String>,
    /// How far the numbers can be trusted.
    pub freshness: Freshness,
    /// Age of the numbers.
    pub age_seconds: Option<f64>,
    /// Versions of the driver stack.
    pub driver: DriverInfo,
    /// How often the driver was opened anew.
    pub reinits: u64,
    /// What the balancer should make of it.
    pub signal: HealthSignal,
    /// How loaded the machine is.
    pub load: LoadReport,
    /// Every device.
    pub devices: Vec<DeviceReport>,
}

/// A device as a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeviceReport {
    /// The latest reading.
    #[serde(flatten)]
    pub reading: DeviceReading,
    /// `false` once it was missing at a look.
    pub present: bool,
    /// Busy share, smoothed for routing.
    pub busy_routing: Option<Ratio>,
    /// Busy share, smoothed for scaling.
    pub busy_scaling: Option<Ratio>,
    /// Time that it was busy.
    pub busy_seconds: f64,
    /// The latest XID number.
    pub last_xid: Option<u64>,
    /// Fit for work?
    pub verdict: Verdict,
    /// What speaks against it, in words.
    pub cause: Option<String>,
    /// For how long the verdict has held.
    pub verdict_seconds: f64,
    /// Share of its traffic that it should get.
    pub weight: Ratio,
}

impl GpuReport {
    /// The snapshot as it looks at `now`.
    #[must_use]
    pub fn new(snapshot: &GpuSnapshot, now: Instant) -> Self {
        let (availability, reason) = match &snapshot.availability {
            Availability::Starting => ("starting", None),
            Availability::Present => ("present", None),
            Availability::Absent(reason) => ("absent", Some(reason.to_string())),
            Availability::Faulted(fault) => ("faulted", Some(fault.to_string())),
        };
        Self {
            availability,
            reason,
            freshness: snapshot.freshness,
            age_seconds: snapshot.age(now).map(|age| age.as_secs_f64()),
            driver: snapshot.driver.clone(),
            reinits: snapshot.reinits,
            signal: snapshot.health_signal(),
            load: snapshot.load(None),
            devices: snapshot
                .devices
                .iter()
                .map(|device| DeviceReport::new(device, now))
                .collect(),
        }
    }
}

impl DeviceReport {
    fn new(device: &GpuDevice, now: Instant) -> Self {
        let held = now.saturating_duration_since(device.health.since);
        Self {
            reading: device.reading.clone(),
            present: device.present,
            busy_routing: device.busy_routing,
            busy_scaling: device.busy_scaling,
            busy_seconds: device.busy_seconds,
            last_xid: device.last_xid,
            verdict: device.health.verdict,
            cause: device.health.cause.map(|cause| cause.to_string()),
            verdict_seconds: held.as_secs_f64(),
            weight: device.health.weight,
        }
    }
}
