//! One device handle in, its metrics out.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::structs::device::FieldId;

use super::ask::{Asking, Question};
use crate::ratio::Ratio;
use crate::reading::{EccErrors, Memory, Metrics, Process, RecoveryAction, RemappedRows, Throttle};

/// Values that only exist as numbered fields, fetched in one call.
const FIELDS: [u32; 12] = [
    MEMORY_TEMPERATURE,
    REMAPPED_CORRECTABLE,
    REMAPPED_UNCORRECTABLE,
    REMAPPED_PENDING,
    REMAPPED_FAILED,
    RECOVERY_ACTION,
    PCIE_REPLAYS,
    PCIE_SENT,
    PCIE_RECEIVED,
    NVLINK_CRC_ERRORS,
    NVLINK_REPLAY_ERRORS,
    NVLINK_RECOVERY_ERRORS,
];
const NVLINK_CRC_ERRORS: u32 = 38;
const NVLINK_REPLAY_ERRORS: u32 = 52;
const NVLINK_RECOVERY_ERRORS: u32 = 59;
const MEMORY_TEMPERATURE: u32 = 82;
const PCIE_REPLAYS: u32 = 94;
const REMAPPED_CORRECTABLE: u32 = 142;
const REMAPPED_UNCORRECTABLE: u32 = 143;
const REMAPPED_PENDING: u32 = 144;
const REMAPPED_FAILED: u32 = 145;
const PCIE_SENT: u32 = 197;
const PCIE_RECEIVED: u32 = 198;
const RECOVERY_ACTION: u32 = 230;

const MEGAHERTZ: u64 = 1_000_000;

/// Everything that a whole device can tell.
pub(super) fn metrics(device: &Device<'_>, asking: &mut Asking<'_>, processes: bool) -> Metrics {
    let mut metrics = shared_metrics(device, asking, processes);
    let utilization = asking.ask(Question::Utilization, || device.utilization_rates());
    metrics.busy = utilization
        .as_ref()
        .and_then(|rates| Ratio::percent(rates.gpu));
    metrics.membus = utilization
        .as_ref()
        .and_then(|rates| Ratio::percent(rates.memory));
    metrics.temperature_celsius = asking.ask(Question::Temperature, || {
        device.temperature(TemperatureSensor::Gpu)
    });
    metrics.power_watts = asking
        .ask(Question::Power, || device.power_usage())
        .map(milli);
    metrics.power_limit_watts = asking
        .ask(Question::PowerLimit, || device.enforced_power_limit())
        .map(milli);
    metrics.energy_joules = asking
        .ask(Question::Energy, || device.total_energy_consumption())
        .map(|millijoules| millijoules as f64 / 1_000.0);
    metrics.throttle = asking
        .ask(Question::Throttle, || device.current_throttle_reasons())
        .map(|reasons| Throttle(reasons.bits()));
    let encoder = asking.ask(Question::Encoder, || device.encoder_utilization());
    metrics.encoder = encoder.and_then(|info| Ratio::percent(info.utilization));
    let decoder = asking.ask(Question::Decoder, || device.decoder_utilization());
    metrics.decoder = decoder.and_then(|info| Ratio::percent(info.utilization));
    clocks(device, asking, &mut metrics);
    metrics.ecc = ecc(device, asking);
    fields(device, asking, &mut metrics);
    metrics
}

/// What a MIG instance can tell: memory and processes.
pub(super) fn shared_metrics(
    device: &Device<'_>,
    asking: &mut Asking<'_>,
    processes: bool,
) -> Metrics {
    let memory = asking
        .ask(Question::Memory, || device.memory_info())
        .map(|info| Memory {
            total_bytes: info.total,
            used_bytes: info.used,
            reserved_bytes: info.reserved,
            free_bytes: info.free,
        });
    let processes = if processes {
        running(device, asking)
    } else {
        None
    };
    Metrics {
        memory,
        processes,
        ..Metrics::default()
    }
}

fn clocks(device: &Device<'_>, asking: &mut Asking<'_>, metrics: &mut Metrics) {
    let hertz = |megahertz: u32| u64::from(megahertz) * MEGAHERTZ;
    metrics.sm_clock_hertz = asking
        .ask(Question::SmClock, || device.clock_info(Clock::SM))
        .map(hertz);
    metrics.sm_clock_max_hertz = asking
        .ask(Question::SmClockMax, || device.max_clock_info(Clock::SM))
        .map(hertz);
    metrics.memory_clock_hertz = asking
        .ask(Question::MemoryClock, || device.clock_info(Clock::Memory))
        .map(hertz);
}

fn ecc(device: &Device<'_>, asking: &mut Asking<'_>) -> EccErrors {
    let mut count =
        |question, error, counter| asking.ask(question, || device.total_ecc_errors(error, counter));
    EccErrors {
        corrected_volatile: count(
            Question::EccCorrectedVolatile,
            MemoryError::Corrected,
            EccCounter::Volatile,
        ),
        uncorrected_volatile: count(
            Question::EccUncorrectedVolatile,
            MemoryError::Uncorrected,
            EccCounter::Volatile,
        ),
        corrected_aggregate: count(
            Question::EccCorrectedAggregate,
            MemoryError::Corrected,
            EccCounter::Aggregate,
        ),
        uncorrected_aggregate: count(
            Question::EccUncorrectedAggregate,
            MemoryError::Uncorrected,
            EccCounter::Aggregate,
        ),
    }
}

fn fields(device: &Device<'_>, asking: &mut Asking<'_>, metrics: &mut Metrics) {
    let ids = FIELDS.map(FieldId);
    let samples = asking.ask(Question::Fields, || device.field_values_for(&ids));
    let value = |id: u32| {
        let sample = samples
            .iter()
            .flatten()
            .flatten()
            .find(|sample| sample.field.0 == id)?;
        sample.value.as_ref().ok().and_then(unsigned)
    };
    metrics.memory_temperature_celsius =
        value(MEMORY_TEMPERATURE).and_then(|celsius| u32::try_from(celsius).ok());
    metrics.remapped_rows = RemappedRows {
        correctable: value(REMAPPED_CORRECTABLE),
        uncorrectable: value(REMAPPED_UNCORRECTABLE),
        pending: value(REMAPPED_PENDING).map(|flag| flag != 0),
        failed: value(REMAPPED_FAILED).map(|flag| flag != 0),
    };
    metrics.recovery_action = value(RECOVERY_ACTION)
        .and_then(|code| u32::try_from(code).ok())
        .map(RecoveryAction::from);
    metrics.pcie_replays = value(PCIE_REPLAYS);
    metrics.pcie_sent_bytes = value(PCIE_SENT);
    metrics.pcie_received_bytes = value(PCIE_RECEIVED);
    metrics.nvlink_errors = [
        NVLINK_CRC_ERRORS,
        NVLINK_REPLAY_ERRORS,
        NVLINK_RECOVERY_ERRORS,
    ]
    .into_iter()
    .filter_map(value)
    .reduce(u64::saturating_add);
}

fn running(device: &Device<'_>, asking: &mut Asking<'_>) -> Option<Vec<Process>> {
    let compute = asking.ask(Question::Compute, || device.running_compute_processes());
    let graphics = asking.ask(Question::Graphics, || device.running_graphics_processes());
    if compute.is_none() && graphics.is_none() {
        return None;
    }
    let mut all: Vec<_> = compute
        .into_iter()
        .chain(graphics)
        .flatten()
        .map(|info| process(&info))
        .collect();
    // A process that computes and draws is listed twice by the driver.
    all.sort_unstable_by_key(|process| (process.pid, process.gpu_instance));
    all.dedup_by_key(|process| (process.pid, process.gpu_instance));
    Some(all)
}

fn process(info: &ProcessInfo) -> Process {
    Process {
        pid: info.pid,
        memory_bytes: match info.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
        gpu_instance: info.gpu_instance_id,
        compute_instance: info.compute_instance_id,
    }
}

fn milli(value: u32) -> f64 {
    f64::from(value) / 1_000.0
}

/// Counters are never negative and never fractional; anything else is no counter.
fn unsigned(value: &SampleValue) -> Option<u64> {
    match *value {
        SampleValue::U32(value) => Some(u64::from(value)),
        SampleValue::U64(value) => Some(value),
        SampleValue::I64(value) => u64::try_from(value).ok(),
        SampleValue::F64(_) => None,
    }
}
