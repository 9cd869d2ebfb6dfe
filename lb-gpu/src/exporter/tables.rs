//! The families that are plain numbers, as tables.

use crate::ratio::Ratio;
use crate::reading::Metrics;
use crate::snapshot::GpuDevice;

/// A number without further labels, and where it comes from.
pub(super) type Plain<T> = (
    &'static str,
    &'static str,
    &'static str,
    fn(&T) -> Option<f64>,
);

/// What is measured: left out while the device is missing.
pub(super) const MEASURED: [Plain<Metrics>; 15] = [
    (
        "lb_gpu_busy_ratio",
        "gauge",
        "Share of the driver's window with a kernel running.",
        |metrics| ratio(metrics.busy),
    ),
    (
        "lb_gpu_membus_ratio",
        "gauge",
        "Share of the driver's window with memory traffic.",
        |metrics| ratio(metrics.membus),
    ),
    (
        "lb_gpu_encoder_ratio",
        "gauge",
        "Use of the video encoder.",
        |metrics| ratio(metrics.encoder),
    ),
    (
        "lb_gpu_decoder_ratio",
        "gauge",
        "Use of the video decoder.",
        |metrics| ratio(metrics.decoder),
    ),
    ("lb_gpu_power_watts", "gauge", "Power draw.", |metrics| {
        metrics.power_watts
    }),
    (
        "lb_gpu_power_limit_watts",
        "gauge",
        "Power limit being enforced.",
        |metrics| metrics.power_limit_watts,
    ),
    (
        "lb_gpu_energy_joules_total",
        "counter",
        "Energy since the driver was loaded.",
        |metrics| metrics.energy_joules,
    ),
    (
        "lb_gpu_remap_pending",
        "gauge",
        "1 while memory rows wait for a reset.",
        |metrics| {
            metrics
                .remapped_rows
                .pending
                .map(|flag| f64::from(u8::from(flag)))
        },
    ),
    (
        "lb_gpu_remap_failed",
        "gauge",
        "1 once no spare memory rows are left.",
        |metrics| {
            metrics
                .remapped_rows
                .failed
                .map(|flag| f64::from(u8::from(flag)))
        },
    ),
    (
        "lb_gpu_pcie_replays_total",
        "counter",
        "PCIe packets sent again.",
        |metrics| count(metrics.pcie_replays),
    ),
    (
        "lb_gpu_pcie_sent_bytes_total",
        "counter",
        "Bytes sent over PCIe.",
        |metrics| count(metrics.pcie_sent_bytes),
    ),
    (
        "lb_gpu_pcie_received_bytes_total",
        "counter",
        "Bytes received over PCIe.",
        |metrics| count(metrics.pcie_received_bytes),
    ),
    (
        "lb_gpu_nvlink_errors_total",
        "counter",
        "NVLink errors of all kinds.",
        |metrics| count(metrics.nvlink_errors),
    ),
    (
        "lb_gpu_processes",
        "gauge",
        "Processes on the device.",
        |metrics| metrics.processes.as_ref().map(|all| all.len() as f64),
    ),
    (
        "lb_gpu_sm_clock_max_hertz",
        "gauge",
        "Highest clock of the multiprocessors.",
        |metrics| count(metrics.sm_clock_max_hertz),
    ),
];

/// What is remembered: there for as long as the device is.
pub(super) const REMEMBERED: [Plain<GpuDevice>; 3] = [
    (
        "lb_gpu_present",
        "gauge",
        "1 if the device was there at the latest look.",
        |device| Some(f64::from(u8::from(device.present))),
    ),
    (
        "lb_gpu_busy_seconds_total",
        "counter",
        "Time that the device was busy.",
        |device| device.reading.metrics.busy.map(|_| device.busy_seconds),
    ),
    (
        "lb_gpu_health_weight_ratio",
        "gauge",
        "Share of its traffic that it should get.",
        |device| Some(device.health.weight.get()),
    ),
];

/// A number of a device with one more label.
pub(super) type Labelled = (&'static str, fn(&GpuDevice) -> Option<f64>);

/// Name, kind, help, the further label, and its values.
pub(super) type Family = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [Labelled],
);
/// What is measured, with one more label.
pub(super) const LABELLED: [Family; 7] = [
    (
        "lb_gpu_busy_smoothed_ratio",
        "gauge",
        "Busy share, smoothed.",
        "purpose",
        &[
            ("routing", |device| ratio(device.busy_routing)),
            ("scaling", |device| ratio(device.busy_scaling)),
        ],
    ),
    (
        "lb_gpu_memory_bytes",
        "gauge",
        "Memory by state; they add up to the total.",
        "state",
        &[
            ("used", |device| {
                metrics(device)
                    .memory
                    .map(|memory| memory.used_bytes as f64)
            }),
            ("reserved", |device| {
                metrics(device)
                    .memory
                    .map(|memory| memory.reserved_bytes as f64)
            }),
            ("free", |device| {
                metrics(device)
                    .memory
                    .map(|memory| memory.free_bytes as f64)
            }),
        ],
    ),
    (
        "lb_gpu_temperature_celsius",
        "gauge",
        "Temperature.",
        "sensor",
        &[
            ("gpu", |device| {
                metrics(device).temperature_celsius.map(f64::from)
            }),
            ("memory", |device| {
                metrics(device).memory_temperature_celsius.map(f64::from)
            }),
        ],
    ),
    (
        "lb_gpu_clock_hertz",
        "gauge",
        "Clocks now.",
        "clock",
        &[
            ("sm", |device| count(metrics(device).sm_clock_hertz)),
            ("memory", |device| count(metrics(device).memory_clock_hertz)),
        ],
    ),
    (
        "lb_gpu_ecc_errors_total",
        "counter",
        "Memory errors since the driver was loaded.",
        "kind",
        &[
            ("corrected", |device| {
                count(metrics(device).ecc.corrected_volatile)
            }),
            ("uncorrected", |device| {
                count(metrics(device).ecc.uncorrected_volatile)
            }),
        ],
    ),
    (
        "lb_gpu_ecc_lifetime_errors_total",
        "counter",
        "Memory errors in the board's life.",
        "kind",
        &[
            ("corrected", |device| {
                count(metrics(device).ecc.corrected_aggregate)
            }),
            ("uncorrected", |device| {
                count(metrics(device).ecc.uncorrected_aggregate)
            }),
        ],
    ),
    (
        "lb_gpu_remapped_rows",
        "gauge",
        "Memory rows replaced by spare ones.",
        "cause",
        &[
            ("correctable", |device| {
                count(metrics(device).remapped_rows.correctable)
            }),
            ("uncorrectable", |device| {
                count(metrics(device).remapped_rows.uncorrectable)
            }),
        ],
    ),
];

fn metrics(device: &GpuDevice) -> &Metrics {
    &device.reading.metrics
}

fn ratio(value: Option<Ratio>) -> Option<f64> {
    value.map(Ratio::get)
}

fn count(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}
