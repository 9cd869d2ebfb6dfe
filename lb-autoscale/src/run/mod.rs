//! The loop: look, decide, act, remember, sleep.
//!
//! The only part of this crate that sleeps. It survives whatever a source or an
//! actuator does: a reading that fails holds the count, an actuator that fails
//! is asked again at the next turn, both have a deadline, and a panic is a
//! failure like any other. Restarts are survived by [`State`]: hand the stored
//! one to [`Autoscaler::state`].
//!
//! ```
//! use std::time::Duration;
//! use lb_autoscale::{Autoscaler, Spec, actuator::DryRun, source::Gauges, spec::Metric};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let spec = Spec::builder("simulation")
//!     .replicas(3..=5)
//!     .metric(Metric::external("active_simulations").average_value(8.0))
//!     .build()?;
//! let gauges = Gauges::default();
//! gauges.set("active_simulations", 31.0);
//! let handle = Autoscaler::new(spec, gauges, DryRun::new(3))
//!     .interval(Duration::from_secs(15))
//!     .run();
//! handle.next_decision().await;
//! assert_eq!(handle.status().decisions[0].desired, 4);
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod control;
mod memory;
mod turn;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use self::control::{Audit, Control, Status};
use self::memory::Core;
use self::turn::Loop;
use crate::actuator::Actuator;
use crate::source::MetricSource;
use crate::{Spec, State, UnixMillis, clock};

type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;
type Remember = Box<dyn FnMut(&State) + Send>;

/// Collects what the loop needs; [`Autoscaler::run`] starts it.
#[must_use = "nothing is decided before `run`"]
pub struct Autoscaler<S, A> {
    source: S,
    actuator: A,
    core: Core,
    interval: Duration,
    deadline: Duration,
    clock: Clock,
    remember: Remember,
}

/// A running loop. Dropping it ends the loop; the fleet belongs to the actuator,
/// which is dropped with it.
#[derive(Debug)]
#[must_use = "the loop ends when this is dropped"]
pub struct AutoscalerHandle {
    control: Control,
    task: JoinHandle<()>,
}

// === impl Autoscaler ===

impl<S, A> Autoscaler<S, A>
where
    S: MetricSource + 'static,
    A: Actuator + 'static,
{
    /// A loop that is not running yet.
    pub fn new(spec: Spec, source: S, actuator: A) -> Self {
        let core = Core::new(spec);
        Self {
            source,
            actuator,
            core,
            interval: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            clock: Arc::new(clock::now),
            remember: Box::new(|_| {}),
        }
    }

    /// Time between two decisions. Default: 15 s, as Kubernetes; at least a millisecond.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How long a source or an actuator may take. Default: 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many decisions are kept for looking at. Default: 100.
    pub fn keep_decisions(mut self, count: usize) -> Self {
        self.core.keep = count.max(1);
        self
    }

    /// How many decisions are kept with all they were made from, to be replayed. Default: 10;
    /// at least 1. A thousand pods are about 300 KB each time.
    pub fn keep_records(mut self, count: usize) -> Self {
        self.core.keep_records = count.max(1);
        self
    }

    /// Goes on from a stored state. Default: one that has never decided.
    pub fn state(mut self, state: State) -> Self {
        self.core.state = state;
        self
    }

    /// Is given the state after every decision, to store it. Default: nobody is.
    pub fn remember(mut self, store: impl FnMut(&State) + Send + 'static) -> Self {
        self.remember = Box::new(store);
        self
    }

    /// Another clock than the system's, for simulations and tests.
    pub fn clock(mut self, clock: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts the loop on the current tokio runtime. The first decision is made at once.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn run(self) -> AutoscalerHandle {
        let (turns_tx, turns) = watch::channel(0);
        let control = Control {
            core: Arc::new(Mutex::new(self.core)),
            poke: Arc::default(),
            turns,
            clock: self.clock,
        };
        let mut looped = Loop {
            source: self.source,
            actuator: self.actuator,
            control: control.clone(),
            deadline: self.deadline,
            remember: self.remember,
        };
        let interval = self.interval;
        let task = tokio::spawn(async move {
            loop {
                looped.turn().await;
                turns_tx.send_modify(|turns| *turns += 1);
                // A poke shortens the sleep; a poke during the turn is not lost.
                let _ = timeout(interval, looped.control.poke.notified()).await;
            }
        });
        AutoscalerHandle { control, task }
    }
}

impl<S: fmt::Debug, A: fmt::Debug> fmt::Debug for Autoscaler<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Autoscaler")
            .field("source", &self.source)
            .field("actuator", &self.actuator)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

// === impl AutoscalerHandle ===

impl AutoscalerHandle {
    /// A cloneable way to look and steer, for an admin service or a dashboard.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

impl Drop for AutoscalerHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::ops::Deref for AutoscalerHandle {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}
