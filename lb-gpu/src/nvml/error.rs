//! What each NVML error means for us.

use nvml_wrapper::error::NvmlError;

use crate::probe::{AbsentReason, Fault, ProbeError};
use crate::reading::DeviceFault;

/// What an error during sampling says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This device will never answer this question.
    Unsupported,
    /// No answer this time.
    Unavailable,
    /// No answer this time, and the driver itself does not know why.
    Unintelligible,
    /// The device is broken.
    Device(DeviceFault),
    /// The library has to be opened anew.
    Session(ProbeError),
}

/// Reads an error that came from opening the library.
pub(super) fn at_start(error: &NvmlError) -> ProbeError {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            ProbeError::Absent(AbsentReason::NoLibrary)
        }
        NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => {
            ProbeError::Faulted(Fault::NotNvml)
        }
        NvmlError::NoPermission | NvmlError::OperatingSystem => {
            ProbeError::Absent(AbsentReason::NoPermission)
        }
        other => match while_sampling(other) {
            Meaning::Session(error) => error,
            _ => ProbeError::Faulted(Fault::Init(other.to_string())),
        },
    }
}

/// Reads an error that came from one question.
pub(super) fn while_sampling(error: &NvmlError) -> Meaning {
    match error {
        NvmlError::NotSupported
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::FunctionNotFound => Meaning::Unsupported,
        NvmlError::GpuLost => Meaning::Device(DeviceFault::Lost),
        NvmlError::ResetRequired => Meaning::Device(DeviceFault::ResetRequired),
        NvmlError::LibRmVersionMismatch => {
            Meaning::Session(ProbeError::Faulted(Fault::DriverReloaded))
        }
        NvmlError::Uninitialized => Meaning::Session(ProbeError::Faulted(Fault::Uninitialized)),
        NvmlError::DriverNotLoaded => Meaning::Session(ProbeError::Absent(AbsentReason::NoDriver)),
        NvmlError::Unknown => Meaning::Unintelligible,
        _ => Meaning::Unavailable,
    }
}
