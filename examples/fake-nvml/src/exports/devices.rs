//! Who a device is, who is on it, and its MIG instances.

use std::ffi::{c_char, c_uint, c_ulonglong};

use super::{Handle, put, put_text};
use crate::state::{INSUFFICIENT_SIZE, NOT_FOUND, NOT_SUPPORTED, Target, answer};

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
