//! Our own names, family by family.

use super::tables::{LABELLED, MEASURED, REMEMBERED};
use super::text::Text;
use crate::health::Verdict;
use crate::snapshot::GpuSnapshot;

/// Everything about every device.
pub(super) fn devices(text: &mut Text, snapshot: &GpuSnapshot) {
    info(text, snapshot);
    for (name, kind, help, value) in REMEMBERED {
        text.family(name, kind, help);
        for device in &snapshot.devices {
            if let Some(value) = value(device) {
                text.sample(&[("uuid", device.id().as_str())], value);
            }
        }
    }
    for (name, kind, help, value) in MEASURED {
        text.family(name, kind, help);
        for device in snapshot.devices.iter().filter(|device| device.present) {
            if let Some(value) = value(&device.reading.metrics) {
                text.sample(&[("uuid", device.id().as_str())], value);
            }
        }
    }
    numbers(text, snapshot);
    verdicts(text, snapshot);
    counted(text, snapshot);
}

/// Memory by process.
pub(super) fn processes(text: &mut Text, snapshot: &GpuSnapshot) {
    text.family(
        "lb_gpu_process_memory_bytes",
        "gauge",
        "Memory by process, host pids.",
    );
    for device in snapshot.devices.iter().filter(|device| device.present) {
        for process in device.reading.metrics.processes.iter().flatten() {
            if let Some(bytes) = process.memory_bytes {
                let labels = [
                    ("uuid", device.id().as_str()),
                    ("pid", &*process.pid.to_string()),
                ];
                text.sample(&labels, bytes as f64);
            }
        }
    }
}

fn info(text: &mut Text, snapshot: &GpuSnapshot) {
    text.family("lb_gpu_info", "gauge", "What a device is called; always 1.");
    for device in &snapshot.devices {
        let reading = &device.reading;
        let index = reading.index.map(|index| index.to_string());
        let parent = reading.mig.as_ref().map(|mig| mig.parent.as_str());
        let driver = snapshot.driver.driver_version.as_deref();
        text.sample(
            &[
                ("uuid", device.id().as_str()),
                ("index", index.as_deref().unwrap_or_default()),
                ("name", reading.name.as_deref().unwrap_or_default()),
                (
                    "pci_bus_id",
                    reading.pci_bus_id.as_deref().unwrap_or_default(),
                ),
                ("mig_parent", parent.unwrap_or_default()),
                ("driver_version", driver.unwrap_or_default()),
            ],
            1.0,
        );
    }
}

fn numbers(text: &mut Text, snapshot: &GpuSnapshot) {
    for (name, kind, help, label, values) in LABELLED {
        text.family(name, kind, help);
        for device in snapshot.devices.iter().filter(|device| device.present) {
            for (which, value) in values {
                if let Some(value) = value(device) {
                    text.sample(&[("uuid", device.id().as_str()), (label, which)], value);
                }
            }
        }
    }
}

fn verdicts(text: &mut Text, snapshot: &GpuSnapshot) {
    text.family(
        "lb_gpu_health",
        "gauge",
        "1 for the verdict that holds, 0 for the others.",
    );
    for device in &snapshot.devices {
        for verdict in [Verdict::Healthy, Verdict::Degraded, Verdict::Unfit] {
            let holds = f64::from(u8::from(device.health.verdict == verdict));
            text.sample(
                &[("uuid", device.id().as_str()), ("verdict", verdict.label())],
                holds,
            );
        }
    }
}

fn counted(text: &mut Text, snapshot: &GpuSnapshot) {
    text.family(
        "lb_gpu_throttled_seconds_total",
        "counter",
        "Time with clocks held down.",
    );
    for device in &snapshot.devices {
        for (reason, seconds) in &device.throttled_seconds {
            text.sample(
                &[("uuid", device.id().as_str()), ("reason", reason)],
                *seconds,
            );
        }
    }
    text.family(
        "lb_gpu_xid_errors_total",
        "counter",
        "XID errors seen: a lower bound.",
    );
    for device in &snapshot.devices {
        for (number, times) in &device.xid_errors {
            let labels = [
                ("uuid", device.id().as_str()),
                ("xid", &*number.to_string()),
            ];
            text.sample(&labels, *times as f64);
        }
    }
}
