//! Start, stop, versions, the list of devices, and the way in for tests.

use std::ffi::{c_char, c_int, c_uint};

use super::{Handle, code, put, put_text};
use crate::state::{self, INVALID_ARGUMENT, enter, with};

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
