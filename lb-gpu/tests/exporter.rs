//! The exposition: a golden text, and what is left out.

use std::time::{Duration, Instant};

use lb_gpu::exporter::Exporter;
use lb_gpu::reading::{
    DeviceReading, DriverInfo, Event, EventKind, Memory, Process, Reading, Throttle,
};
use lb_gpu::tracker::{Tracker, TrackerConfig};
use lb_gpu::{GpuSnapshot, Ratio};

/// A snapshot of one talkative and one silent device, and the time it is for.
fn sampled() -> (GpuSnapshot, Instant) {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    let start = Instant::now();
    let mut full = DeviceReading::new("GPU-1");
    full.index = Some(0);
    full.name = Some("Fake \"80GB\" \\ new".into());
    full.pci_bus_id = Some("00000000:01:00.0".into());
    let metrics = &mut full.metrics;
    (metrics.busy, metrics.membus) = (Ratio::percent(50), Ratio::percent(20));
    metrics.memory = Some(Memory {
        total_bytes: 100,
        used_bytes: 30,
        reserved_bytes: 10,
        free_bytes: 60,
    });
    metrics.temperature_celsius = Some(61);
    metrics.power_watts = Some(412.5);
    metrics.throttle = Some(Throttle(0x40));
    let process = Process {
        pid: 77,
        memory_bytes: Some(30),
        gpu_instance: None,
        compute_instance: None,
    };
    metrics.processes = Some(vec![process]);
    let silent = DeviceReading::new("GPU-2");
    let mut tracker = Tracker::new(TrackerConfig::default());
    for second in 0..2 {
        let events = vec![Event {
            device: "GPU-1".into(),
            kind: EventKind::Xid(31),
        }];
        let driver = DriverInfo {
            driver_version: Some("580.1".into()),
            ..DriverInfo::default()
        };
        let devices = vec![full.clone(), silent.clone()];
        let reading = Reading {
            driver,
            devices,
            events,
            ..Reading::default()
        };
        tracker.observe(reading, start + Duration::from_secs(second));
    }
    let now = start + Duration::from_millis(1_250);
    (tracker.snapshot(now), now)
}

#[test]
fn the_text_is_as_documented() {
    let (snapshot, now) = sampled();
    let text = Exporter::default().render(&snapshot, now);
    assert_eq!(text, include_str!("exporter.golden.txt"), "got:\n{text}");
}

#[test]
fn what_cannot_be_known_is_left_out_not_reported_as_zero() {
    let (snapshot, now) = sampled();
    let text = Exporter::default().render(&snapshot, now);
    assert!(!text.contains("lb_gpu_busy_ratio{uuid=\"GPU-2\"}"));
    assert!(text.contains("lb_gpu_present{uuid=\"GPU-2\"} 1\n"));
    assert!(
        !text.contains("lb_gpu_energy_joules_total"),
        "no family without a sample"
    );
}

#[test]
fn a_missing_device_keeps_its_counters_and_its_verdict_and_measures_nothing() {
    let (snapshot, now) = sampled();
    let mut gone = snapshot;
    gone.devices[0].present = false;
    let text = Exporter::default()
        .processes(true)
        .dcgm_names(true)
        .render(&gone, now);
    assert!(text.contains("lb_gpu_present{uuid=\"GPU-1\"} 0\n"));
    assert!(text.contains("lb_gpu_busy_seconds_total{uuid=\"GPU-1\"} 0.5\n"));
    for measured in [
        "busy_ratio",
        "memory_bytes",
        "temperature_celsius",
        "process_memory",
        "DCGM_FI_DEV_GPU_UTIL",
    ] {
        assert!(!text.contains(measured), "{measured}: {text}");
    }
}

#[test]
fn processes_and_dcgm_names_are_there_when_asked_for() {
    let (snapshot, now) = sampled();
    let plain = Exporter::default().render(&snapshot, now);
    assert!(!plain.contains("pid=") && !plain.contains("DCGM"));
    let text = Exporter::default()
        .processes(true)
        .dcgm_names(true)
        .render(&snapshot, now);
    assert!(text.contains("lb_gpu_process_memory_bytes{uuid=\"GPU-1\",pid=\"77\"} 30\n"));
    let labels = "{gpu=\"0\",UUID=\"GPU-1\",pci_bus_id=\"00000000:01:00.0\",device=\"nvidia0\"";
    assert!(
        text.contains(&format!("DCGM_FI_DEV_GPU_UTIL{labels}")),
        "{text}"
    );
    assert!(text.contains("DCGM_FI_DEV_XID_ERRORS"));
}
