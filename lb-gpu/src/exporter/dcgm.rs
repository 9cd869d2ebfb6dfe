//! The names and units of NVIDIA's dcgm-exporter, for dashboards that ask for them.

use super::text::Text;
use crate::ratio::Ratio;
use crate::snapshot::{GpuDevice, GpuSnapshot};

const MIB: f64 = 1_048_576.0;
const MEGAHERTZ: f64 = 1e6;

type Field = (
    &'static str,
    &'static str,
    &'static str,
    fn(&GpuDevice) -> Option<f64>,
);

/// A subset of its default fields, with its help texts' units.
const FIELDS: [Field; 11] = [
    (
        "DCGM_FI_DEV_SM_CLOCK",
        "gauge",
        "SM clock frequency (in MHz).",
        |device| {
            device
                .reading
                .metrics
                .sm_clock_hertz
                .map(|hertz| hertz as f64 / MEGAHERTZ)
        },
    ),
    (
        "DCGM_FI_DEV_MEM_CLOCK",
        "gauge",
        "Memory clock frequency (in MHz).",
        |device| {
            device
                .reading
                .metrics
                .memory_clock_hertz
                .map(|hertz| hertz as f64 / MEGAHERTZ)
        },
    ),
    (
        "DCGM_FI_DEV_GPU_TEMP",
        "gauge",
        "GPU temperature (in C).",
        |device| device.reading.metrics.temperature_celsius.map(f64::from),
    ),
    (
        "DCGM_FI_DEV_MEMORY_TEMP",
        "gauge",
        "Memory temperature (in C).",
        |device| {
            device
                .reading
                .metrics
                .memory_temperature_celsius
                .map(f64::from)
        },
    ),
    (
        "DCGM_FI_DEV_POWER_USAGE",
        "gauge",
        "Power draw (in W).",
        |device| device.reading.metrics.power_watts,
    ),
    (
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "counter",
        "Energy since boot (in mJ).",
        |device| {
            device
                .reading
                .metrics
                .energy_joules
                .map(|joules| joules * 1_000.0)
        },
    ),
    (
        "DCGM_FI_DEV_GPU_UTIL",
        "gauge",
        "GPU utilization (in %).",
        |device| device.reading.metrics.busy.map(percent),
    ),
    (
        "DCGM_FI_DEV_MEM_COPY_UTIL",
        "gauge",
        "Memory utilization (in %).",
        |device| device.reading.metrics.membus.map(percent),
    ),
    (
        "DCGM_FI_DEV_XID_ERRORS",
        "gauge",
        "Value of the last XID error encountered.",
        |device| Some(device.last_xid.unwrap_or(0) as f64),
    ),
    (
        "DCGM_FI_DEV_FB_FREE",
        "gauge",
        "Framebuffer memory free (in MiB).",
        |device| {
            device
                .reading
                .metrics
                .memory
                .map(|memory| memory.free_bytes as f64 / MIB)
        },
    ),
    (
        "DCGM_FI_DEV_FB_USED",
        "gauge",
        "Framebuffer memory used (in MiB).",
        |device| {
            device
                .reading
                .metrics
                .memory
                .map(|memory| memory.used_bytes as f64 / MIB)
        },
    ),
];

/// Devices that are there, under dcgm-exporter's names and labels.
pub(super) fn devices(text: &mut Text, snapshot: &GpuSnapshot) {
    for (name, kind, help, value) in FIELDS {
        text.family(name, kind, help);
        for device in snapshot.devices.iter().filter(|device| device.present) {
            let Some(value) = value(device) else { continue };
            let reading = &device.reading;
            let index = reading
                .index
                .map(|index| index.to_string())
                .unwrap_or_default();
            let labels = [
                ("gpu", &*index),
                ("UUID", device.id().as_str()),
                (
                    "pci_bus_id",
                    reading.pci_bus_id.as_deref().unwrap_or_default(),
                ),
                ("device", &*format!("nvidia{index}")),
                ("modelName", reading.name.as_deref().unwrap_or_default()),
            ];
            text.sample(&labels, value);
        }
    }
}

fn percent(ratio: Ratio) -> f64 {
    (ratio.get() * 100.0).round()
}
