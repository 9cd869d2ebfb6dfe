//! The tracker in virtual time: smoothing, counters, staleness, coming and going.

use std::time::{Duration, Instant};

use lb_gpu::Ratio;
use lb_gpu::probe::{AbsentReason, Fault, ProbeError};
use lb_gpu::reading::{DeviceReading, Event, EventKind, Reading, Throttle, ThrottleReason};
use lb_gpu::snapshot::{Availability, Freshness};
use lb_gpu::tracker::{Tracker, TrackerConfig};

/// The one clock of this file: everything else is an offset from it.
fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    Instant::now()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn busy(id: &str, percent: u32) -> DeviceReading {
    let mut device = DeviceReading::new(id);
    device.metrics.busy = Ratio::percent(percent);
    device
}

fn reading(devices: impl IntoIterator<Item = DeviceReading>) -> Reading {
    Reading {
        devices: devices.into_iter().collect(),
        ..Reading::default()
    }
}

#[test]
fn busy_seconds_sum_up_the_time_at_work() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    for step in 0..=20 {
        tracker.observe(reading([busy("GPU-1", 50)]), start + ms(500 * step));
    }
    let snapshot = tracker.snapshot(start + ms(10_000));
    assert!((snapshot.devices[0].busy_seconds - 5.0).abs() < 1e-9);
}

#[test]
fn a_gap_longer_than_the_staleness_limit_is_not_guessed_at() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    tracker.observe(reading([busy("GPU-1", 100)]), start);
    tracker.observe(
        reading([busy("GPU-1", 100)]),
        start + Duration::from_secs(600),
    );
    assert_eq!(
        tracker.snapshot(start + ms(600_000)).devices[0].busy_seconds,
        0.0
    );
}

#[test]
fn routing_follows_faster_than_scaling() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    tracker.observe(reading([busy("GPU-1", 0)]), start);
    for step in 1..=10 {
        tracker.observe(reading([busy("GPU-1", 100)]), start + ms(500 * step));
    }
    let device = tracker.snapshot(start + ms(5_000)).devices[0].clone();
    let routing = device.busy_routing.map(Ratio::get).unwrap();
    let scaling = device.busy_scaling.map(Ratio::get).unwrap();
    assert!((routing - 0.632).abs() < 0.01, "{routing}");
    assert!((scaling - 0.154).abs() < 0.01, "{scaling}");
}

#[test]
fn unknown_utilisation_stays_unknown() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    tracker.observe(reading([DeviceReading::new("GPU-1")]), start);
    let snapshot = tracker.snapshot(start);
    assert_eq!(snapshot.devices[0].busy_routing, None);
    assert_eq!(snapshot.devices[0].reading.metrics.busy, None);
}

#[test]
fn a_snapshot_goes_stale_after_three_periods_and_unknown_after_fifteen_seconds() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    assert_eq!(tracker.freshness(start), Freshness::Unknown);
    tracker.observe(reading([busy("GPU-1", 70)]), start);
    assert_eq!(tracker.freshness(start + ms(1_499)), Freshness::Fresh);
    assert_eq!(tracker.freshness(start + ms(1_500)), Freshness::Stale);
    assert_eq!(tracker.freshness(start + ms(14_999)), Freshness::Stale);
    assert_eq!(tracker.freshness(start + ms(15_000)), Freshness::Unknown);
    assert_eq!(tracker.freshness_lasts(start + ms(500)), Some(ms(1_000)));
    assert_eq!(tracker.freshness_lasts(start + ms(1_500)), Some(ms(13_500)));
    assert_eq!(tracker.freshness_lasts(start + ms(15_000)), None);
}

#[test]
fn a_missing_device_stays_visible_and_comes_back_as_itself() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    tracker.observe(reading([busy("GPU-1", 100), busy("GPU-2", 0)]), start);
    tracker.observe(
        reading([busy("GPU-1", 100), busy("GPU-2", 0)]),
        start + ms(500),
    );
    tracker.observe(reading([busy("GPU-2", 0)]), start + ms(1_000));
    let gone = tracker.snapshot(start + ms(1_000));
    assert!(!gone.devices[0].present && gone.devices[1].present);

    tracker.observe(
        reading([busy("GPU-1", 100), busy("GPU-2", 0)]),
        start + ms(1_500),
    );
    let back = tracker.snapshot(start + ms(1_500));
    assert!(back.devices[0].present);
    assert!(back.devices[0].busy_seconds >= 0.5);
}

#[test]
fn a_device_is_forgotten_after_the_retention_time() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    tracker.observe(reading([busy("GPU-1", 1), busy("GPU-2", 1)]), start);
    tracker.observe(
        reading([busy("GPU-2", 1)]),
        start + Duration::from_secs(600),
    );
    assert_eq!(tracker.snapshot(start).devices.len(), 2);
    tracker.observe(
        reading([busy("GPU-2", 1)]),
        start + Duration::from_secs(601),
    );
    assert_eq!(tracker.snapshot(start).devices.len(), 1);
}

#[test]
fn a_machine_that_lost_every_device_never_becomes_one_that_needs_none() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    tracker.observe(reading([busy("GPU-1", 1)]), start);
    let days = start + Duration::from_hours(48);
    tracker.observe(reading([]), days);
    tracker.fail(ProbeError::Absent(AbsentReason::NoDriver), days);
    let signal = tracker.snapshot(days).health_signal();
    assert!(!signal.fit, "{signal:?}");
}

#[test]
fn xid_errors_are_counted_by_number() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    let mut noisy = reading([busy("GPU-1", 1)]);
    noisy.events = [31, 79, 31]
        .map(|number| Event {
            device: "GPU-1".into(),
            kind: EventKind::Xid(number),
        })
        .to_vec();
    tracker.observe(noisy, start);
    let device = tracker.snapshot(start).devices[0].clone();
    assert_eq!(device.xid_errors, [(31, 2), (79, 1)].into());
    assert_eq!(device.last_xid, Some(31));
}

#[test]
fn time_under_each_throttle_reason_is_counted() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    let mut hot = DeviceReading::new("GPU-1");
    hot.metrics.throttle = Some(Throttle(ThrottleReason::HwThermal.bit()));
    tracker.observe(reading([hot.clone()]), start);
    tracker.observe(reading([hot]), start + ms(1_000));
    let device = tracker.snapshot(start).devices[0].clone();
    assert_eq!(device.throttled_seconds["hw_thermal"], 1.0);
    assert_eq!(device.throttled_seconds["sw_thermal"], 0.0);
}

#[test]
fn absence_and_faults_are_told_apart_and_reopenings_counted() {
    let (start, mut tracker) = (start(), Tracker::new(TrackerConfig::default()));
    tracker.fail(ProbeError::Absent(AbsentReason::NoDriver), start);
    assert_eq!(
        tracker.snapshot(start).absence(),
        Some(AbsentReason::NoDriver)
    );
    assert_eq!(tracker.snapshot(start).reinits, 0);

    tracker.observe(reading([busy("GPU-1", 1)]), start);
    tracker.fail(ProbeError::Faulted(Fault::DriverReloaded), start);
    let faulted = tracker.snapshot(start);
    assert_eq!(
        faulted.availability,
        Availability::Faulted(Fault::DriverReloaded)
    );
    assert_eq!(faulted.reinits, 1);
    assert!(faulted.devices[0].present, "a reload is not yet a loss");
}
