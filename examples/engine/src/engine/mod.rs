//! Who computes a run.
//!
//! [`Engine`] is the seam: a plan goes in, a summary comes out, and a
//! [`Control`] lets others watch and stop it meanwhile. [`CpuEngine`] uses the
//! processor's cores. An engine for a GPU would implement the same trait and
//! owe the same promise: equal specifications give equal summaries.
//!
//! An engine blocks the thread that calls it. Async code calls it through
//! `spawn_blocking`.
//!
//! ```
//! use montecarlo::engine::{Control, CpuEngine, Engine as _};
//! use montecarlo::spec::{Plan, Spec};
//!
//! let spec: Spec = serde_json::from_str(
//!     r#"{"inputs": {"x": {"distribution": "uniform", "min": 0, "max": 1}},
//!         "formula": "x", "iterations": 100000, "seed": 1}"#,
//! ).unwrap();
//! let plan = Plan::new(&spec).unwrap();
//! let one = CpuEngine::new(1).run(&plan, &Control::default()).unwrap();
//! let three = CpuEngine::new(3).run(&plan, &Control::default()).unwrap();
//! assert_eq!(one, three);
//! assert!((one.mean - 0.5).abs() < 0.01);
//! ```

mod chunks;
mod cpu;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use cpu::CpuEngine;

use crate::spec::Plan;
use crate::summary::Summary;

/// Computes runs.
pub trait Engine: Send + Sync + 'static {
    /// Computes one run. Blocks until it is done, stopped or failed; looks at
    /// `control` often enough to stop within milliseconds.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    fn run(&self, plan: &Plan, control: &Control) -> Result<Summary, EngineError>;
}

/// Watches and stops a run from outside.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    done: AtomicU64,
}

/// Why there is no summary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// [`Control::cancel`] was called.
    #[error("the run was cancelled")]
    Cancelled,
    /// Too many samples without a finite value.
    #[error(
        "{count} of {iterations} samples have no finite value, for example {example}; {}",
        crate::spec::NON_FINITE_HINT
    )]
    NonFinite {
        /// How many.
        count: u64,
        /// Of how many.
        iterations: u64,
        /// Inputs of the first one.
        example: String,
    },
    /// The operating system gave no thread.
    #[error("no thread could be started")]
    NoThread,
    /// A thread of the engine broke off.
    #[error("the engine broke off")]
    Broken,
}

// === impl Control ===

impl Control {
    /// Asks the run to stop.
    pub fn cancel(&self) {
        // Relaxed: a flag that guards no other memory; later is soon enough.
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked the run to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // Relaxed: as in `cancel`.
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Samples drawn so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        // Relaxed: a figure to look at. It orders no other memory.
        self.done.load(Ordering::Relaxed)
    }

    /// Reports `samples` more.
    pub fn advance(&self, samples: u64) {
        // Relaxed: as in `done`.
        self.done.fetch_add(samples, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
