//! Folds readings into snapshots: the memory between two looks.
//!
//! Pure: readings and the time come in, [`GpuSnapshot`]s go out. The sampler
//! runs exactly this code; so do the tests, in virtual time.
//!
//! A device that is missing from a reading does not disappear from the
//! snapshot. It stays, marked absent, for a retention time (default 10 min), so
//! that a balancer sees it *leave* instead of seeing fewer devices. It comes
//! back as itself, by UUID, with its counters intact.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_gpu::Ratio;
//! use lb_gpu::reading::{DeviceReading, Reading};
//! use lb_gpu::tracker::{Tracker, TrackerConfig};
//!
//! # #[expect(clippy::disallowed_methods)]
//! let start = Instant::now();
//! let mut tracker = Tracker::new(TrackerConfig::default());
//! let mut gpu = DeviceReading::new("GPU-1");
//! gpu.metrics.busy = Some(Ratio::FULL);
//! for second in 0..3 {
//!     let reading = Reading { devices: vec![gpu.clone()], ..Reading::default() };
//!     tracker.observe(reading, start + Duration::from_secs(second));
//! }
//! let snapshot = tracker.snapshot(start + Duration::from_secs(2));
//! assert_eq!(snapshot.devices[0].busy_seconds, 2.0);
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ewma::Ewma;
use crate::health::{HealthPolicy, HealthTracker, Sign};
use crate::probe::ProbeError;
use crate::ratio::Ratio;
use crate::reading::{DeviceId, DeviceReading, Event, EventKind, Reading, ThrottleReason};
use crate::snapshot::{Availability, Freshness, GpuDevice, GpuSnapshot};

/// Different XID numbers counted per device. NVIDIA's catalogue has fewer that
/// occur; the bound keeps a confused driver from growing our labels.
const MOST_XID_NUMBERS: usize = 64;

/// How readings are smoothed and when they are too old.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrackerConfig {
    /// Time constant of the load used for routing. Default: 5 s.
    pub routing_tau: Duration,
    /// Time constant of the load used for scaling. Default: 30 s.
    pub scaling_tau: Duration,
    /// Age at which a snapshot turns stale. Default: 1.5 s, three periods of 500 ms.
    pub stale_after: Duration,
    /// Age at which a snapshot means nothing any more. Default: 15 s.
    pub unknown_after: Duration,
    /// How long a missing device stays in the snapshot. Default: 10 min.
    pub retention: Duration,
    /// Which signs lead to which health verdict.
    pub health: HealthPolicy,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            routing_tau: Duration::from_secs(5),
            scaling_tau: Duration::from_secs(30),
            stale_after: Duration::from_millis(1_500),
            unknown_after: Duration::from_secs(15),
            retention: Duration::from_secs(600),
            health: HealthPolicy::default(),
        }
    }
}

/// The memory between two looks. See the module docs.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    base: GpuSnapshot,
    devices: BTreeMap<DeviceId, Tracked>,
}

#[derive(Debug)]
struct Tracked {
    device: GpuDevice,
    seen: Instant,
    routing: Ewma,
    scaling: Ewma,
    health: HealthTracker,
}

// === impl Tracker ===

impl Tracker {
    /// A tracker that has seen nothing.
    #[must_use]
    pub fn new(config: TrackerConfig) -> Self {
        Self {
            config,
            base: GpuSnapshot::starting(),
            devices: BTreeMap::new(),
        }
    }

    /// Folds one reading in.
    pub fn observe(&mut self, reading: Reading, now: Instant) {
        self.base.availability = Availability::Present;
        self.base.taken_at = Some(now);
        self.base.took = Some(reading.took);
        self.base.driver = reading.driver;
        self.base.nameless_devices = reading.nameless_devices;
        for tracked in self.devices.values_mut() {
            tracked.device.present = false;
        }
        for device in reading.devices {
            self.observe_device(device, &reading.events, now);
        }
        self.forget_dissolved_slices();
        self.judge_the_missing(now);
        self.forget_the_long_gone(now);
    }

    /// Notes that the probe gave up, for now.
    pub fn fail(&mut self, error: ProbeError, now: Instant) {
        if self.base.availability == Availability::Present {
            self.base.reinits += 1;
        }
        // A reload takes seconds and proves nothing; a driver that stays away does.
        let gone =
            matches!(error, ProbeError::Absent(_)) || self.freshness(now) == Freshness::Unknown;
        self.base.availability = match error {
            ProbeError::Absent(reason) => Availability::Absent(reason),
            ProbeError::Faulted(fault) => Availability::Faulted(fault),
        };
        for tracked in self.devices.values_mut().filter(|_| gone) {
            tracked.device.present = false;
        }
        self.judge_the_missing(now);
        self.forget_the_long_gone(now);
    }

    /// What is known at `now`. O(devices).
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> GpuSnapshot {
        GpuSnapshot {
            freshness: self.freshness(now),
            devices: self
                .devices
                .values()
                .map(|tracked| self.with_parents_health(tracked))
                .collect(),
            ..self.base.clone()
        }
    }

    /// A slice is never healthier than the device that it was cut out of: XID
    /// errors, faults and advice are told about the whole.
    fn with_parents_health(&self, tracked: &Tracked) -> GpuDevice {
        let mut device = tracked.device.clone();
        let mig = device.reading.mig.as_ref();
        let parent = mig.and_then(|mig| self.devices.get(&mig.parent));
        if let Some(parent) = parent.map(|parent| parent.device.health)
            && parent.verdict > device.health.verdict
        {
            device.health = parent;
        }
        device
    }

    /// How far the numbers can be trusted at `now`.
    #[must_use]
    pub fn freshness(&self, now: Instant) -> Freshness {
        match self.base.age(now) {
            Some(age) if age >= self.config.unknown_after => Freshness::Unknown,
            Some(age) if age >= self.config.stale_after => Freshness::Stale,
            Some(_) => Freshness::Fresh,
            None => Freshness::Unknown,
        }
    }

    /// How long the freshness at `now` lasts without a new reading; `None` once
    /// it cannot get worse.
    #[must_use]
    pub fn freshness_lasts(&self, now: Instant) -> Option<Duration> {
        let age = self.base.age(now)?;
        if age >= self.config.unknown_after {
            return None;
        }
        [self.config.stale_after, self.config.unknown_after]
            .into_iter()
            .filter_map(|limit| limit.checked_sub(age).filter(|left| !left.is_zero()))
            .min()
    }

    /// Declares a device healthy: for a human who repaired it. `false` if it is not known.
    pub fn clear_health(&mut self, id: &DeviceId, now: Instant) -> bool {
        let Some(tracked) = self.devices.get_mut(id) else {
            return false;
        };
        tracked.health.clear(now);
        tracked.device.health = tracked.health.health();
        true
    }

    fn observe_device(&mut self, reading: DeviceReading, events: &[Event], now: Instant) {
        let config = &self.config;
        let tracked = self
            .devices
            .entry(reading.id.clone())
            .or_insert_with(|| Tracked::new(reading.clone(), config, now));
        let xids: Vec<u64> = events
            .iter()
            .filter(|event| event.device == reading.id)
            .map(|event| match event.kind {
                EventKind::Xid(number) => number,
            })
            .collect();
        tracked.count_xids(&xids);
        tracked.observe(reading, config, now);
        tracked.judge(&xids, &config.health, now);
    }

    fn judge_the_missing(&mut self, now: Instant) {
        for tracked in self
            .devices
            .values_mut()
            .filter(|tracked| !tracked.device.present)
        {
            tracked.judge(&[], &self.config.health, now);
        }
    }

    /// A slice that is gone while its parent is well was dissolved on purpose.
    fn forget_dissolved_slices(&mut self) {
        let well: Vec<DeviceId> = self
            .devices
            .values()
            .map(|tracked| &tracked.device)
            .filter(|device| device.present && device.reading.fault.is_none())
            .map(|device| device.id().clone())
            .collect();
        self.devices.retain(|_, tracked| {
            let mig = tracked.device.reading.mig.as_ref();
            tracked.device.present || !mig.is_some_and(|mig| well.contains(&mig.parent))
        });
    }

    /// The last ones stay: a machine that lost every GPU must not turn into one
    /// that never had any, and needs none.
    fn forget_the_long_gone(&mut self, now: Instant) {
        let retention = self.config.retention;
        if !self.devices.values().any(|tracked| tracked.device.present) {
            return;
        }
        self.devices
            .retain(|_, tracked| now.saturating_duration_since(tracked.seen) <= retention);
    }
}

// === impl Tracked ===

impl Tracked {
    fn new(reading: DeviceReading, config: &TrackerConfig, now: Instant) -> Self {
        Self {
            device: GpuDevice {
                reading,
                present: true,
                busy_routing: None,
                busy_scaling: None,
                busy_seconds: 0.0,
                throttled_seconds: BTreeMap::new(),
                xid_errors: BTreeMap::new(),
                last_xid: None,
                health: HealthTracker::new(now).health(),
            },
            seen: now,
            routing: Ewma::new(config.routing_tau),
            scaling: Ewma::new(config.scaling_tau),
            health: HealthTracker::new(now),
        }
    }

    fn count_xids(&mut self, xids: &[u64]) {
        let counts = &mut self.device.xid_errors;
        for number in xids {
            if counts.len() < MOST_XID_NUMBERS || counts.contains_key(number) {
                *counts.entry(*number).or_default() += 1;
            }
            self.device.last_xid = Some(*number);
        }
    }

    fn judge(&mut self, xids: &[u64], policy: &HealthPolicy, now: Instant) {
        let reading = &self.device.reading;
        let sign = match reading.fault {
            _ if !self.device.present => Sign::Missing,
            Some(fault) => Sign::Fault(fault),
            None => Sign::Answer(&reading.metrics),
        };
        self.health.observe(policy, &sign, xids, now);
        self.device.health = self.health.health();
    }

    fn observe(&mut self, reading: DeviceReading, config: &TrackerConfig, now: Instant) {
        // A gap longer than the staleness limit is not guessed at.
        let elapsed = Some(now.saturating_duration_since(self.seen))
            .filter(|gap| *gap <= config.stale_after)
            .map_or(0.0, |gap| gap.as_secs_f64());
        let device = &mut self.device;
        if let Some(busy) = reading.metrics.busy {
            self.routing.observe(busy.get(), now);
            self.scaling.observe(busy.get(), now);
            device.busy_seconds += busy.get() * elapsed;
        }
        if let Some(throttle) = reading.metrics.throttle {
            for reason in ThrottleReason::ALL {
                let held = if throttle.has(reason) { elapsed } else { 0.0 };
                *device.throttled_seconds.entry(reason.label()).or_default() += held;
            }
        }
        device.busy_routing = self.routing.get().and_then(Ratio::saturating);
        device.busy_scaling = self.scaling.get().and_then(Ratio::saturating);
        device.present = true;
        device.reading = reading;
        self.seen = now;
    }
}
