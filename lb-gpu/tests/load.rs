//! What a machine tells the balancer and the autoscaler.

use std::time::{Duration, Instant};

use lb_gpu::health::Cause;
use lb_gpu::reading::{DeviceFault, DeviceReading, Memory, MigInstance, Reading};
use lb_gpu::tracker::{Tracker, TrackerConfig};
use lb_gpu::{GpuSnapshot, Ratio};

fn device(id: &str, busy: u32, used: u64) -> DeviceReading {
    let mut device = DeviceReading::new(id);
    device.metrics.busy = Ratio::percent(busy);
    device.metrics.memory = Some(Memory {
        total_bytes: 110,
        used_bytes: used,
        reserved_bytes: 10,
        free_bytes: 100 - used,
    });
    device
}

fn after(readings: &[&[DeviceReading]]) -> GpuSnapshot {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    let mut now = Instant::now();
    let mut tracker = Tracker::new(TrackerConfig::default());
    for devices in readings {
        now += Duration::from_millis(500);
        tracker.observe(
            Reading {
                devices: devices.to_vec(),
                ..Reading::default()
            },
            now,
        );
    }
    tracker.snapshot(now)
}

#[test]
fn a_full_memory_is_not_hidden_behind_an_idle_processor() {
    let load = after(&[&[device("GPU-1", 0, 95)]]).load(None);
    assert_eq!(load.dominant(), Ratio::percent(95));
    assert_eq!(load.weighted(1.0, 1.0).map(Ratio::get), Some(0.475));
}

#[test]
fn each_device_counts_with_its_own_dominant_resource() {
    let load = after(&[&[device("GPU-1", 100, 0), device("GPU-2", 0, 100)]]).load(None);
    assert_eq!(
        (load.gpu, load.gpu_mem),
        (Ratio::percent(50), Ratio::percent(50))
    );
    assert_eq!(
        load.dominant(),
        Some(Ratio::FULL),
        "neither device has room"
    );
}

#[test]
fn slots_in_use_take_part() {
    let load = after(&[&[device("GPU-1", 10, 10)]]).load(Ratio::percent(75));
    assert_eq!(load.dominant(), Ratio::percent(75));
}

#[test]
fn a_slice_counts_instead_of_its_parent() {
    let parent = device("GPU-1", 0, 100);
    let mut slice = device("MIG-1", 0, 20);
    slice.mig = Some(MigInstance {
        parent: "GPU-1".into(),
        index: 0,
        multiprocessors: None,
    });
    slice.metrics.busy = None;
    let load = after(&[&[parent, slice]]).load(None);
    assert_eq!((load.gpu, load.gpu_mem), (None, Ratio::percent(20)));
}

#[test]
fn old_numbers_are_neutral_numbers() {
    let mut tracker = Tracker::new(TrackerConfig::default());
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    let now = Instant::now();
    tracker.observe(
        Reading {
            devices: vec![device("GPU-1", 90, 90)],
            ..Reading::default()
        },
        now,
    );
    let stale = tracker.snapshot(now + Duration::from_secs(10));
    assert_eq!(
        stale.load(None).gpu,
        Ratio::percent(90),
        "the last value still stands"
    );
    let unknown = tracker.snapshot(now + Duration::from_secs(15));
    assert_eq!(unknown.load(None).dominant(), None);
}

#[test]
fn an_instance_is_unfit_only_when_all_its_devices_are() {
    let both = [device("GPU-1", 50, 50), device("GPU-2", 50, 50)];
    let one_lost = after(&[&both, &both[1..]]).health_signal();
    assert!(one_lost.fit);
    assert_eq!(one_lost.weight.get(), 0.5);
    assert_eq!(one_lost.cause.as_deref(), Some("GPU-1: missing"));
    let all_lost = after(&[&both, &[]]).health_signal();
    assert!(!all_lost.fit);
    assert_eq!(all_lost.weight, Ratio::IDLE);
}

#[test]
fn a_machine_that_never_had_a_gpu_is_fit() {
    let signal = GpuSnapshot::absent(lb_gpu::probe::AbsentReason::NoLibrary).health_signal();
    assert!(signal.fit && signal.weight == Ratio::FULL && signal.cause.is_none());
}

#[test]
fn who_works_on_one_device_is_judged_by_that_one() {
    let both = [device("GPU-1", 90, 50), device("GPU-2", 10, 20)];
    let busy = after(&[&both]).restricted_to(&["GPU-1".into()]);
    assert_eq!(busy.devices.len(), 1);
    assert_eq!(busy.load(None).gpu, Ratio::percent(90));
    let lost = after(&[&both, &both[1..]]);
    assert!(lost.health_signal().fit, "the machine has another one");
    assert!(!lost.restricted_to(&["GPU-1".into()]).health_signal().fit);
    assert!(lost.restricted_to(&["GPU-2".into()]).health_signal().fit);
}

#[test]
fn a_device_that_was_never_seen_counts_as_missing() {
    let other = after(&[&[device("GPU-1", 0, 0)]]).restricted_to(&["GPU-9".into()]);
    let signal = other.health_signal();
    assert_eq!(signal.cause.as_deref(), Some("GPU-9: missing"));
    assert!(!signal.fit && signal.weight == Ratio::IDLE);
}

#[test]
fn the_slices_of_a_device_belong_to_it() {
    let mut slice = device("MIG-1", 0, 20);
    slice.mig = Some(MigInstance {
        parent: "GPU-1".into(),
        index: 0,
        multiprocessors: None,
    });
    let all = after(&[&[device("GPU-1", 0, 0), slice, device("GPU-2", 0, 0)]]);
    assert_eq!(all.restricted_to(&["GPU-1".into()]).devices.len(), 2);
}

#[test]
fn a_slice_that_was_dissolved_on_purpose_is_not_missed() {
    let parent = device("GPU-1", 0, 0);
    let mut slice = device("MIG-1", 0, 0);
    slice.mig = Some(MigInstance {
        parent: "GPU-1".into(),
        index: 0,
        multiprocessors: None,
    });
    let snapshot = after(&[&[parent.clone(), slice], &[parent]]);
    assert_eq!(snapshot.devices.len(), 1);
    assert_eq!(snapshot.health_signal().weight, Ratio::FULL);
}

#[test]
fn a_slice_is_never_healthier_than_its_parent() {
    let parent = device("GPU-1", 0, 0);
    let mut slice = device("MIG-1", 0, 0);
    slice.mig = Some(MigInstance {
        parent: "GPU-1".into(),
        index: 0,
        multiprocessors: None,
    });
    let mut broken = parent.clone();
    broken.fault = Some(DeviceFault::ResetRequired);
    let snapshot = after(&[&[parent, slice.clone()], &[broken, slice]]);
    assert_eq!(snapshot.devices[1].health.cause, Some(Cause::ResetRequired));
    assert!(!snapshot.health_signal().fit);
}
