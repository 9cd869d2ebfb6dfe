//! The symbols of NVML that the wrapper calls, with NVML's own names and layouts.
#![allow(non_snake_case, reason = "the names are NVML's")]
#![allow(
    unreachable_pub,
    reason = "the symbols are public to the dynamic loader"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is NVML's: pointers are valid"
)]

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use crate::state::{
    self, GPU_IS_LOST, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, OK, TIMEOUT,
    Target, answer, enter, with,
};

type Handle = *mut c_void;

/// Writes one answer.
///
/// # Safety
///
/// `to` is valid for writes of `T`.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), u32> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}

/// Writes a C string.
///
/// # Safety
///
/// `to` is valid for writes of `length` bytes.
unsafe fn put_text(to: *mut c_char, length: usize, text: &str) -> Result<(), u32> {
    if text.len() >= length {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: the caller's promise; the text and its terminator fit.
    unsafe {
        to.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

fn code(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(OK)
}

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

// === The library ===

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlInit_v2() -> u32 {
    let result = enter("nvmlInit_v2");
    if result.is_ok() {
        with(|state| {
            state.refcount += 1;
            state.follow_script_file();
        });
    }
    code(result)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlShutdown() -> u32 {
    code(enter("nvmlShutdown").map(|()| with(|state| state.refcount -= 1)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> u32 {
    code(enter("nvmlSystemGetDriverVersion").and_then(|()| {
        let version = with(|state| state.driver.clone());
        // SAFETY: NVML's contract.
        unsafe { put_text(to, length as usize, &version) }
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetNVMLVersion(to: *mut c_char, length: c_uint) -> u32 {
    code(enter("nvmlSystemGetNVMLVersion").and_then(|()| {
        let version = with(|state| format!("13.{}", state.driver));
        // SAFETY: NVML's contract.
        unsafe { put_text(to, length as usize, &version) }
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(out: *mut c_int) -> u32 {
    // SAFETY: NVML's contract.
    code(enter("nvmlSystemGetCudaDriverVersion_v2").and_then(|()| unsafe { put(out, 13_000) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(out: *mut c_uint) -> u32 {
    code(enter("nvmlDeviceGetCount_v2").and_then(|()| {
        let count = with(|state| {
            state.follow_script_file();
            state.gpus.len() as c_uint
        });
        // SAFETY: NVML's contract.
        unsafe { put(out, count) }
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, out: *mut Handle) -> u32 {
    code(enter("nvmlDeviceGetHandleByIndex_v2").and_then(|()| {
        let handle = with(|state| state.gpus.get(index as usize).map(state::Gpu::handle));
        // SAFETY: NVML's contract.
        unsafe { put(out, handle.ok_or(INVALID_ARGUMENT)? as Handle) }
    }))
}

// === Identity ===

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(device: Handle, to: *mut c_char, length: c_uint) -> u32 {
    answer("nvmlDeviceGetUUID", device as usize, |target| {
        // SAFETY: NVML's contract.
        unsafe { put_text(to, length as usize, &target.uuid()) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(device: Handle, to: *mut c_char, length: c_uint) -> u32 {
    answer("nvmlDeviceGetName", device as usize, |target| {
        let name = if target.slice.is_some() {
            "Fake 80GB MIG 1g.10gb"
        } else {
            "Fake 80GB"
        };
        // SAFETY: NVML's contract.
        unsafe { put_text(to, length as usize, name) }
    })
}

#[repr(C)]
pub struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    device_id: c_uint,
    subsystem_id: c_uint,
    bus_id: [c_char; 32],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: Handle, out: *mut PciInfo) -> u32 {
    answer("nvmlDeviceGetPciInfo_v3", device as usize, |target| {
        let bus = target.gpu.serial as c_uint;
        let mut bus_id = [0; 32];
        let text = format!("00000000:{bus:02X}:00.0");
        for (to, from) in bus_id.iter_mut().zip(text.bytes()) {
            *to = from as c_char;
        }
        let info = PciInfo {
            bus_id_legacy: [0; 16],
            domain: 0,
            bus,
            device: 0,
            device_id: 0x2330_10de,
            subsystem_id: 0,
            bus_id,
        };
        // SAFETY: NVML's contract.
        unsafe { put(out, info) }
    })
}

// === Numbers ===

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

// === Processes ===

#[repr(C)]
pub struct ProcessInfo {
    pid: c_uint,
    used_memory: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: Handle,
    count: *mut c_uint,
    out: *mut ProcessInfo,
) -> u32 {
    answer(
        "nvmlDeviceGetComputeRunningProcesses_v3",
        device as usize,
        |target| {
            // SAFETY: NVML's contract: `count` says how many `out` has room for.
            unsafe { put_processes(&target, count, out) }
        },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: Handle,
    count: *mut c_uint,
    _out: *mut ProcessInfo,
) -> u32 {
    answer(
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        device as usize,
        |_target| {
            // SAFETY: NVML's contract.
            unsafe { put(count, 0) }
        },
    )
}

/// Answers as NVML does: the size first, if there is too little room.
///
/// # Safety
///
/// `count` is valid, and `out` has room for as many as it says.
unsafe fn put_processes(
    target: &Target<'_>,
    count: *mut c_uint,
    out: *mut ProcessInfo,
) -> Result<(), u32> {
    let processes = target.processes();
    // SAFETY: the caller's promise.
    let room = unsafe { *count } as usize;
    // SAFETY: the caller's promise.
    unsafe { put(count, processes.len() as c_uint)? };
    if processes.is_empty() {
        return Ok(());
    }
    if room < processes.len() {
        return Err(INSUFFICIENT_SIZE);
    }
    for (index, process) in processes.iter().enumerate() {
        let slice = process.slice.unwrap_or(c_uint::MAX);
        let info = ProcessInfo {
            pid: process.pid,
            used_memory: process.bytes.unwrap_or(c_ulonglong::MAX),
            gpu_instance: slice,
            compute_instance: if process.slice.is_some() {
                0
            } else {
                c_uint::MAX
            },
        };
        // SAFETY: there is room for all of them.
        unsafe { put(out.add(index), info)? };
    }
    Ok(())
}

// === MIG ===

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: Handle,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> u32 {
    answer("nvmlDeviceGetMigMode", device as usize, |target| {
        let on = c_uint::from(target.gpu.mig_max > 0);
        // SAFETY: NVML's contract.
        unsafe {
            put(current, on)?;
            put(pending, on)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, out: *mut c_uint) -> u32 {
    answer(
        "nvmlDeviceGetMaxMigDeviceCount",
        device as usize,
        |target| {
            // SAFETY: NVML's contract.
            unsafe { put(out, target.gpu.mig_max) }
        },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: Handle,
    index: c_uint,
    out: *mut Handle,
) -> u32 {
    answer(
        "nvmlDeviceGetMigDeviceHandleByIndex",
        device as usize,
        |target| {
            if !target.gpu.slices.contains(&index) {
                return Err(NOT_FOUND);
            }
            // SAFETY: NVML's contract.
            unsafe { put(out, target.gpu.slice_handle(index) as Handle) }
        },
    )
}

#[repr(C)]
pub struct Attributes {
    multiprocessors: c_uint,
    engines: [c_uint; 5],
    slices: [c_uint; 2],
    memory_mib: c_ulonglong,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetAttributes_v2(device: Handle, out: *mut Attributes) -> u32 {
    answer("nvmlDeviceGetAttributes_v2", device as usize, |target| {
        target.slice.ok_or(NOT_SUPPORTED)?;
        let attributes = Attributes {
            multiprocessors: 16,
            engines: [0; 5],
            slices: [1; 2],
            memory_mib: 10_240,
        };
        // SAFETY: NVML's contract.
        unsafe { put(out, attributes) }
    })
}

// === Events: a set is the handle of the one device that was registered with it ===

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetCreate(out: *mut Handle) -> u32 {
    // SAFETY: NVML's contract. The set lives until `nvmlEventSetFree`.
    code(
        enter("nvmlEventSetCreate")
            .and_then(|()| unsafe { put(out, Box::into_raw(Box::new(0_usize)).cast()) }),
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceRegisterEvents(
    device: Handle,
    _types: c_ulonglong,
    set: *mut usize,
) -> u32 {
    answer("nvmlDeviceRegisterEvents", device as usize, |target| {
        // SAFETY: NVML's contract: `set` is alive.
        unsafe { put(set, target.gpu.handle()) }
    })
}

#[repr(C)]
pub struct EventData {
    device: Handle,
    kind: c_ulonglong,
    data: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

const XID_CRITICAL_ERROR: c_ulonglong = 8;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetWait_v2(
    set: *mut usize,
    out: *mut EventData,
    _timeout_ms: c_uint,
) -> u32 {
    // SAFETY: NVML's contract: `set` is alive.
    let handle = unsafe { *set };
    let answered = answer("nvmlEventSetWait_v2", handle, |target| {
        let data = target.gpu.xids.pop_front().ok_or(TIMEOUT)?;
        let event = EventData {
            device: handle as Handle,
            kind: XID_CRITICAL_ERROR,
            data,
            gpu_instance: c_uint::MAX,
            compute_instance: c_uint::MAX,
        };
        // SAFETY: NVML's contract.
        unsafe { put(out, event) }
    });
    // A set whose devices are gone is merely silent for NVML until asked about them.
    if answered == GPU_IS_LOST && handle == 0 {
        TIMEOUT
    } else {
        answered
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetFree(set: *mut usize) -> u32 {
    // SAFETY: NVML's contract: made by `nvmlEventSetCreate`, freed once.
    drop(unsafe { Box::from_raw(set) });
    OK
}

// === The way in for tests ===

/// Applies a script; the length of the line that was not understood, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_nvml_apply(script: *const u8, length: usize) -> usize {
    // SAFETY: called by `FakeNvml::apply` with a string slice.
    let script = unsafe { std::slice::from_raw_parts(script, length) };
    let script = String::from_utf8_lossy(script);
    with(|state| state.apply(&script))
        .err()
        .map_or(0, |line| line.len().max(1))
}

/// How often the library is initialised right now.
#[unsafe(no_mangle)]
pub extern "C" fn fake_nvml_refcount() -> u64 {
    with(|state| state.refcount)
}
