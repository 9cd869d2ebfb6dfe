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

mod devices;
mod events;
mod library;
mod numbers;

use std::ffi::{c_char, c_void};

use crate::state::{INSUFFICIENT_SIZE, INVALID_ARGUMENT, OK};

pub(crate) type Handle = *mut c_void;

/// Writes one answer.
///
/// # Safety
///
/// `to` is valid for writes of `T`.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) -> Result<(), u32> {
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
pub(crate) unsafe fn put_text(to: *mut c_char, length: usize, text: &str) -> Result<(), u32> {
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

pub(crate) fn code(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(OK)
}
