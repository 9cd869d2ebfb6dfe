//! NVIDIA GPUs through NVML, the management library behind `nvidia-smi`.
//!
//! The library is opened at run time: this crate builds and runs on machines
//! that never saw an NVIDIA package. Where to find it, in this order: the path
//! given to [`NvmlProbe::at`]; the environment variable `LB_GPU_NVML_PATH`;
//! `libnvidia-ml.so.1` wherever the loader looks. `LB_GPU_DISABLE=1` switches
//! looking off.
//!
//! | what NVML says | what becomes of it |
//! |---|---|
//! | cannot be opened | absent: no library |
//! | opened, but has no `nvmlInit_v2` | faulted: not NVML |
//! | driver not loaded | absent: no driver, tried again |
//! | no permission at start | absent: no permission |
//! | library and driver versions differ | faulted: driver reloaded; everything is closed and opened anew |
//! | uninitialised | faulted: the same |
//! | GPU is lost, reset required | that device carries the fault, the others go on |
//! | not supported, symbol missing | that metric of that device is `None` and not asked for again |
//! | unknown error on every device, three looks in a row | faulted: everything is opened anew |
//! | anything else, also codes without a name | that metric is `None` this time |
//!
//! # Limits
//!
//! XID errors are polled with every look. NVML reports only the newest number
//! when several came in between, so counts are lower bounds. A MIG parent has
//! no utilisation of its own, and NVML gives none for its instances: `busy` is
//! `None` there. The wrapper has no safe call for MIG instance numbers; they
//! are known from process rows only.
//!
//! ```
//! use std::ops::ControlFlow;
//! use lb_gpu::NvmlProbe;
//! use lb_gpu::probe::{AbsentReason, Probe, ProbeError};
//!
//! let mut probe = NvmlProbe::at("/nowhere/libnvidia-ml.so.1");
//! let answer = probe.watch(&mut |_| ControlFlow::Break(()));
//! assert_eq!(answer, Err(ProbeError::Absent(AbsentReason::NoLibrary)));
//! ```

mod ask;
mod collect;
mod error;
mod session;

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;

use nvml_wrapper::Nvml;

use crate::probe::{AbsentReason, Fault, Probe, ProbeError};
use crate::reading::Reading;

/// Looks at NVIDIA GPUs. See the module docs.
#[derive(Clone, Debug)]
pub struct NvmlProbe {
    source: Source,
    processes: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Disabled,
    Default,
    Path(OsString),
}

impl NvmlProbe {
    /// Finds the library by environment or default name. Nothing is opened yet.
    #[must_use]
    pub fn detect() -> Self {
        let disabled = std::env::var_os("LB_GPU_DISABLE").is_some_and(|value| value == "1");
        let source = match std::env::var_os("LB_GPU_NVML_PATH") {
            _ if disabled => Source::Disabled,
            Some(path) if !path.is_empty() => Source::Path(path),
            _ => Source::Default,
        };
        Self {
            source,
            processes: true,
        }
    }

    /// Uses the library at this path and no other.
    pub fn at(path: impl AsRef<OsStr>) -> Self {
        Self {
            source: Source::Path(path.as_ref().to_owned()),
            processes: true,
        }
    }

    /// Whether to list the processes on each device. Default: yes.
    #[must_use]
    pub fn processes(mut self, wanted: bool) -> Self {
        self.processes = wanted;
        self
    }

    fn open(&self) -> Result<Nvml, ProbeError> {
        let mut builder = Nvml::builder();
        match &self.source {
            Source::Disabled => return Err(ProbeError::Absent(AbsentReason::Disabled)),
            Source::Default => {}
            Source::Path(path) => {
                builder.lib_path(path);
            }
        }
        let nvml = builder.init().map_err(|error| error::at_start(&error))?;
        if nvml.lib().nvmlShutdown.is_err() {
            // The wrapper's drop would panic without this symbol: no NVML lacks it.
            std::mem::forget(nvml);
            return Err(ProbeError::Faulted(Fault::NotNvml));
        }
        Ok(nvml)
    }
}

impl Probe for NvmlProbe {
    fn watch(
        &mut self,
        sink: &mut dyn FnMut(Reading) -> ControlFlow<()>,
    ) -> Result<(), ProbeError> {
        let nvml = self.open()?;
        let mut session = session::Session::new(&nvml, self.processes);
        loop {
            let reading = session.look()?;
            if sink(reading).is_break() {
                return Ok(());
            }
        }
    }
}
