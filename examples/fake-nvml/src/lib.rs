//! A stand-in for `libnvidia-ml.so`, driven by a script.
//!
//! Built as a shared object it is loaded by the real NVML wrapper, through the
//! real FFI, so that everything above the driver is tested without a GPU. It
//! proves how we treat NVML's contract, never how a driver behaves.
//!
//! Built as an ordinary library it offers [`FakeNvml`]: a private copy of the
//! shared object, so that tests of one process do not share devices.
//!
//! A program that is started by a test is driven by a file instead: when
//! `FAKE_NVML_SCRIPT` names one, the script in it is applied at every look, if
//! it has changed.
//!
//! # The script
//!
//! One command per line. Devices are called `GPU-0`, `GPU-1`, ...
//!
//! | command | effect |
//! |---|---|
//! | `devices N` | exactly `N` new devices |
//! | `add NAME`, `remove NAME` | hot plug: the ones behind it shift |
//! | `set NAME KEY VALUE` | one number, see `state.rs` for the keys |
//! | `field NAME ID VALUE` | a numbered field; fields that are not set are unsupported |
//! | `process NAME PID BYTES [SLICE]` | a process; bytes `-` for "may not tell" |
//! | `idle NAME` | no process any more |
//! | `mig NAME MAX [SLICE...]` | MIG on, with room for `MAX` and these slices present; `MAX` 0: off |
//! | `xid NAME NUMBER` | one XID event |
//! | `return NAME SYMBOL CODE` | the call fails with this code; `*` for every device; 0: works again |
//! | `hang SYMBOL`, `let-go SYMBOL` | the call does not return until let go |
//! | `driver VERSION` | driver version |

mod exports;
mod handle;
mod state;

pub use handle::FakeNvml;
