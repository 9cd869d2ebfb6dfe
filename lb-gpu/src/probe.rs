//! The seam between this crate and a driver.
//!
//! A [`Probe`] looks at the machine, again and again, for as long as its sink
//! wants more. The loop is turned inside out on purpose: drivers hand out
//! handles that borrow the open library, and a probe that owns its loop can
//! keep the library, its handles and its event queues on one stack frame and
//! close them in order when the frame ends. It is synchronous on purpose too:
//! driver calls may block for seconds, so the [`Sampler`](crate::Sampler) runs a
//! probe on an operating system thread of its own, never on an async worker.
//!
//! That a machine has no GPU is an answer, not an accident: a probe says so with
//! [`ProbeError::Absent`], and the reason ends up in the snapshot.
//!
//! ```
//! use std::ops::ControlFlow;
//! use lb_gpu::probe::{AbsentReason, Probe, ProbeError};
//! use lb_gpu::FakeProbe;
//!
//! let mut probe = FakeProbe::absent(AbsentReason::NoDriver);
//! let answer = probe.watch(&mut |_reading| ControlFlow::Break(()));
//! assert_eq!(answer, Err(ProbeError::Absent(AbsentReason::NoDriver)));
//! ```

use std::ops::ControlFlow;

use crate::reading::Reading;

/// Looks at the GPUs of this machine.
pub trait Probe: Send + 'static {
    /// Opens the driver, hands one reading after the other to `sink` until it
    /// breaks, and closes the driver again.
    ///
    /// `sink` blocks until the next reading is due, so the probe itself never
    /// waits. Called again after every error, with back-off in between: an
    /// implementation starts from scratch each time.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] when there is nothing to look at or the driver has to be
    /// opened anew. One broken device among others is no error: it is reported
    /// in its [`DeviceReading`](crate::reading::DeviceReading).
    fn watch(&mut self, sink: &mut dyn FnMut(Reading) -> ControlFlow<()>)
    -> Result<(), ProbeError>;
}

/// Why a probe stopped looking.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// There is no GPU to look at: a normal answer.
    #[error("no GPU: {0}")]
    Absent(AbsentReason),
    /// There should be one, but the driver stack does not work right now.
    #[error("the GPU driver is faulty: {0}")]
    Faulted(Fault),
}

/// Why there is no GPU to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum AbsentReason {
    /// The management library is not installed.
    #[error("the management library is not installed")]
    NoLibrary,
    /// The library is there, the kernel driver is not loaded.
    #[error("the driver is not loaded")]
    NoDriver,
    /// The driver works and sees no device.
    #[error("the driver sees no device")]
    NoDevices,
    /// This process may not talk to the driver.
    #[error("no permission to talk to the driver")]
    NoPermission,
    /// Looking was switched off.
    #[error("switched off by configuration")]
    Disabled,
}

impl AbsentReason {
    /// The reason as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoLibrary => "no_library",
            Self::NoDriver => "no_driver",
            Self::NoDevices => "no_devices",
            Self::NoPermission => "no_permission",
            Self::Disabled => "disabled",
        }
    }
}

/// What is wrong with the driver stack as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Fault {
    /// The library that was found is not NVML.
    #[error("the library is not NVML")]
    NotNvml,
    /// The kernel driver was replaced under the library: open both anew.
    #[error("the driver was reloaded")]
    DriverReloaded,
    /// The library forgot that it was initialised.
    #[error("the library lost its initialisation")]
    Uninitialized,
    /// All devices answered with unknown errors for several looks in a row.
    #[error("no device gives an intelligible answer")]
    Unintelligible,
    /// The library would not start, for a reason without a name here.
    #[error("the library would not start: {0}")]
    Init(String),
    /// The probe's thread ended without saying why.
    #[error("the probe ended unexpectedly")]
    ProbeEnded,
}
