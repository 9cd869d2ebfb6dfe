//! Events: a set is the handle of the one device that was registered with it.

use std::ffi::{c_uint, c_ulonglong};

use super::{Handle, code, put};
use crate::state::{GPU_IS_LOST, OK, TIMEOUT, answer, enter};

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
