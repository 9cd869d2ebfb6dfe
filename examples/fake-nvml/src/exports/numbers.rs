//! What a device measures.

use std::ffi::{c_int, c_uint, c_ulonglong};

use super::{Handle, put};
use crate::state::{NOT_SUPPORTED, OK, answer};

/// Calls that answer with one number of a device.
macro_rules! numbers {
    ($($symbol:ident: $type:ty = $key:literal, $whole:literal;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(device: Handle, out: *mut $type) -> u32 {
            answer(stringify!($symbol), device as usize, |target| {
                if $whole {
                    target.whole()?;
                }
                // SAFETY: NVML's contract.
                unsafe { put(out, target.gpu.value($key) as $type) }
            })
        }
    )*};
}

numbers! {
    nvmlDeviceGetPowerUsage: c_uint = "power_mw", false;
    nvmlDeviceGetEnforcedPowerLimit: c_uint = "power_limit_mw", false;
    nvmlDeviceGetTotalEnergyConsumption: c_ulonglong = "energy_mj", false;
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = "throttle", false;
}

/// Calls that answer with a share and its sampling period.
macro_rules! engines {
    ($($symbol:ident = $key:literal;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            device: Handle,
            share: *mut c_uint,
            period_us: *mut c_uint,
        ) -> u32 {
            answer(stringify!($symbol), device as usize, |target| {
                target.whole()?;
                // SAFETY: NVML's contract.
                unsafe {
                    put(share, target.gpu.value($key) as c_uint)?;
                    put(period_us, 167_000)
                }
            })
        }
    )*};
}

engines! {
    nvmlDeviceGetEncoderUtilization = "encoder";
    nvmlDeviceGetDecoderUtilization = "decoder";
}

#[repr(C)]
pub struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    device: Handle,
    out: *mut Utilization,
) -> u32 {
    answer("nvmlDeviceGetUtilizationRates", device as usize, |target| {
        target.whole()?;
        let gpu = target.gpu.value("busy") as c_uint;
        let memory = target.gpu.value("membus") as c_uint;
        // SAFETY: NVML's contract.
        unsafe { put(out, Utilization { gpu, memory }) }
    })
}

#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, out: *mut Memory) -> u32 {
    answer("nvmlDeviceGetMemoryInfo_v2", device as usize, |target| {
        let expected = (size_of::<Memory>() | (2 << 24)) as c_uint;
        // SAFETY: NVML's contract; the caller fills in the version.
        if unsafe { (*out).version } != expected {
            return Err(25);
        }
        let parts = if target.slice.is_some() {
            u64::from(target.gpu.mig_max.max(1))
        } else {
            1
        };
        let total = target.gpu.value("memory_total") / parts;
        let reserved = target.gpu.value("memory_reserved") / parts;
        let used = target.gpu.value("memory_used") / parts;
        let free = total.saturating_sub(reserved + used);
        // SAFETY: NVML's contract.
        unsafe {
            put(
                out,
                Memory {
                    version: expected,
                    total,
                    reserved,
                    free,
                    used,
                },
            )
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(
    device: Handle,
    _sensor: c_uint,
    out: *mut c_uint,
) -> u32 {
    answer("nvmlDeviceGetTemperature", device as usize, |target| {
        // SAFETY: NVML's contract.
        unsafe { put(out, target.gpu.value("temperature") as c_uint) }
    })
}

const CLOCK_MEMORY: c_uint = 2;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(
    device: Handle,
    kind: c_uint,
    out: *mut c_uint,
) -> u32 {
    answer("nvmlDeviceGetClockInfo", device as usize, |target| {
        let key = if kind == CLOCK_MEMORY {
            "memory_mhz"
        } else {
            "sm_mhz"
        };
        // SAFETY: NVML's contract.
        unsafe { put(out, target.gpu.value(key) as c_uint) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxClockInfo(
    device: Handle,
    kind: c_uint,
    out: *mut c_uint,
) -> u32 {
    answer("nvmlDeviceGetMaxClockInfo", device as usize, |target| {
        let key = if kind == CLOCK_MEMORY {
            "memory_mhz"
        } else {
            "sm_max_mhz"
        };
        // SAFETY: NVML's contract.
        unsafe { put(out, target.gpu.value(key) as c_uint) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: Handle,
    uncorrected: c_uint,
    aggregate: c_uint,
    out: *mut c_ulonglong,
) -> u32 {
    answer("nvmlDeviceGetTotalEccErrors", device as usize, |target| {
        let key = match (uncorrected, aggregate) {
            (0, 0) => "ecc_corrected_volatile",
            (0, _) => "ecc_corrected_aggregate",
            (_, 0) => "ecc_uncorrected_volatile",
            (_, _) => "ecc_uncorrected_aggregate",
        };
        // SAFETY: NVML's contract.
        unsafe { put(out, target.gpu.value(key)) }
    })
}

#[repr(C)]
pub struct FieldValue {
    field: c_uint,
    scope: c_uint,
    timestamp: i64,
    latency_us: i64,
    value_type: c_uint,
    result: u32,
    value: u64,
}

const UNSIGNED_LONG_LONG: c_uint = 3;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: Handle,
    count: c_int,
    values: *mut FieldValue,
) -> u32 {
    answer("nvmlDeviceGetFieldValues", device as usize, |target| {
        for index in 0..usize::try_from(count).unwrap_or_default() {
            // SAFETY: NVML's contract: `count` elements.
            let field = unsafe { &mut *values.add(index) };
            field.value_type = UNSIGNED_LONG_LONG;
            (field.result, field.value) = match target.gpu.fields.get(&field.field) {
                Some(value) => (OK, *value),
                None => (NOT_SUPPORTED, 0),
            };
        }
        Ok(())
    })
}
