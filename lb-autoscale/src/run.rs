//! The loop: look, decide, act, remember, sleep.
//!
//! The only part of this crate that sleeps. It survives whatever a source or an
//! actuator does: a reading that fails holds the count, an actuator that fails
//! is asked again at the next turn, and both have a deadline. Restarts are
//! survived by [`State`]: hand the stored one to [`Autoscaler::state`].
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

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::actuator::{Actuator, ActuatorError};
use crate::decision::{Condition, Reason};
use crate::inputs::{Inputs, Pod};
use crate::policy::{Override, OverrideError};
use crate::source::{Fleet, MetricSource};
use crate::{Decision, Spec, State, UnixMillis, clock, decide, observe};

type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;
type Remember = Box<dyn FnMut(&State) + Send>;

/// Collects what the loop needs; [`Autoscaler::run`] starts it.
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
pub struct AutoscalerHandle {
    control: Control,
    task: JoinHandle<()>,
}

/// Looks into a running loop and steers it. Cheap to clone; does not keep it alive.
#[derive(Clone)]
pub struct Control {
    core: Arc<Mutex<Core>>,
    poke: Arc<Notify>,
    turns: watch::Receiver<u64>,
    clock: Clock,
}

struct Core {
    spec: Spec,
    state: State,
    decisions: VecDeque<Arc<Decision>>,
    keep: usize,
    fleet: Vec<Pod>,
    error: Option<String>,
    failures_in_a_row: u32,
    wake: bool,
    audit: VecDeque<Audit>,
    /// Overrides given since the last turn; a turn works on a copy of the state.
    orders: Vec<Order>,
}

enum Order {
    Set(Override),
    Clear,
}

/// The audit keeps this many entries.
const AUDIT: usize = 1_000;

/// Who changed what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub author: String,
    /// What.
    pub action: String,
}

/// What a loop is doing.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The specification's name.
    pub name: String,
    /// Latest first.
    pub decisions: Vec<Arc<Decision>>,
    /// The fleet as last seen.
    pub fleet: Vec<Pod>,
    /// Why the fleet cannot be seen or changed, if so.
    pub error: Option<String>,
    /// Turns in a row that the actuator failed.
    pub failures_in_a_row: u32,
}

// === impl Autoscaler ===

impl<S, A> Autoscaler<S, A>
where
    S: MetricSource + 'static,
    A: Actuator + 'static,
{
    /// A loop that is not running yet.
    #[must_use]
    pub fn new(spec: Spec, source: S, actuator: A) -> Self {
        let core = Core {
            spec,
            state: State::default(),
            decisions: VecDeque::new(),
            keep: 100,
            fleet: Vec::new(),
            error: None,
            failures_in_a_row: 0,
            wake: false,
            audit: VecDeque::new(),
            orders: Vec::new(),
        };
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
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How long a source or an actuator may take. Default: 10 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many decisions are kept for looking at. Default: 100.
    #[must_use]
    pub fn keep_decisions(mut self, count: usize) -> Self {
        self.core.keep = count.max(1);
        self
    }

    /// Goes on from a stored state. Default: one that has never decided.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.core.state = state;
        self
    }

    /// Is given the state after every decision, to store it. Default: nobody is.
    #[must_use]
    pub fn remember(mut self, store: impl FnMut(&State) + Send + 'static) -> Self {
        self.remember = Box::new(store);
        self
    }

    /// Another clock than the system's, for simulations and tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts the loop on the current tokio runtime. The first decision is made at once.
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

// === impl Loop ===

struct Loop<S, A> {
    source: S,
    actuator: A,
    control: Control,
    deadline: Duration,
    remember: Remember,
}

impl<S: MetricSource, A: Actuator> Loop<S, A> {
    async fn turn(&mut self) {
        let spec = self.control.lock().spec.clone();
        let fleet = match within(self.deadline, self.actuator.observe()).await {
            Ok(fleet) => fleet,
            Err(error) => return self.failed(&spec, &error, Reason::FailedGetScale),
        };
        // Too late counts as nothing reported: every metric fails, nothing shrinks.
        let observed = timeout(self.deadline, self.source.observe(&spec, &fleet));
        let metrics = observed.await.unwrap_or_default();
        let (mut state, wake) = {
            let mut core = self.control.lock();
            core.obey();
            (core.state.clone(), std::mem::take(&mut core.wake))
        };
        let before = state.history.clone();
        let Fleet {
            replicas,
            status_replicas,
            pods,
            fresh,
        } = fleet;
        let inputs = Inputs {
            current: replicas,
            status_replicas,
            pods,
            metrics,
            wake,
            fresh,
        };
        let mut decision = decide(&spec, &mut state, &inputs, (self.control.clock)());
        observe::decided(spec.name(), &decision);
        if decision.changes() {
            tracing::info!(spec = spec.name(), "{}", decision.why());
            if let Err(error) = within(self.deadline, self.actuator.apply(&decision)).await {
                // The change did not happen, so no rate limit may count it.
                state.history.scale_ups = before.scale_ups;
                state.history.scale_downs = before.scale_downs;
                decision.conditions.able_to_scale =
                    Condition::new(false, Reason::FailedUpdateScale);
                self.failed(&spec, &error, Reason::FailedUpdateScale);
            } else {
                observe::changed(spec.name(), &decision);
                self.worked();
            }
        } else {
            self.worked();
        }
        (self.remember)(&state);
        self.control.lock().finish(state, inputs.pods, decision);
    }

    fn worked(&self) {
        let mut core = self.control.lock();
        (core.error, core.failures_in_a_row) = (None, 0);
    }

    fn failed(&self, spec: &Spec, error: &ActuatorError, reason: Reason) {
        tracing::warn!(spec = spec.name(), %reason, "{error}");
        observe::actuator_failed(spec.name());
        let mut core = self.control.lock();
        core.error = Some(format!("{reason}: {error}"));
        core.failures_in_a_row = core.failures_in_a_row.saturating_add(1);
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, ActuatorError>>,
) -> Result<T, ActuatorError> {
    let late = || ActuatorError::Unavailable(format!("no answer within {deadline:?}"));
    timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(late()))
}

impl Core {
    /// Carries out what was ordered since the last turn, in order.
    fn obey(&mut self) {
        for order in std::mem::take(&mut self.orders) {
            match order {
                Order::Set(manual) => self.state.force_override(manual),
                Order::Clear => drop(self.state.clear_override()),
            }
        }
    }

    fn finish(&mut self, state: State, fleet: Vec<Pod>, decision: Decision) {
        self.state = state;
        self.fleet = fleet;
        self.decisions.push_front(Arc::new(decision));
        self.decisions.truncate(self.keep);
    }
}

// === impl AutoscalerHandle and Control ===

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

impl Control {
    /// What the loop is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let core = self.lock();
        Status {
            name: core.spec.name().to_owned(),
            decisions: core.decisions.iter().cloned().collect(),
            fleet: core.fleet.clone(),
            error: core.error.clone(),
            failures_in_a_row: core.failures_in_a_row,
        }
    }

    /// The latest decision, if there was one.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Decision>> {
        self.lock().decisions.front().cloned()
    }

    /// The specification in force.
    #[must_use]
    pub fn spec(&self) -> Spec {
        self.lock().spec.clone()
    }

    /// What would have to be stored now.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Another specification from the next decision on, which comes at once.
    /// What is remembered stays.
    pub fn configure(&self, spec: Spec) {
        self.lock().spec = spec;
        self.poke.notify_one();
    }

    /// The same, with an entry in the audit.
    pub fn configure_by(&self, author: &str, spec: Spec) {
        let (min, max) = (spec.min_replicas(), spec.max_replicas());
        self.note(
            author,
            format!("configured {}: {min} to {max} replicas", spec.name()),
        );
        self.configure(spec);
    }

    /// Puts a human's word in force at once.
    ///
    /// # Errors
    ///
    /// [`OverrideError`] if it is anonymous, ends in the past, or lasts too long.
    pub fn set_override(&self, manual: Override) -> Result<(), OverrideError> {
        let now = self.now();
        let (author, order) = (
            manual.author.clone(),
            format!("{:?}: {}", manual.kind, manual.reason),
        );
        self.lock().orders.push(Order::Set(manual.checked(now)?));
        self.note(&author, format!("override {order}"));
        self.poke.notify_one();
        Ok(())
    }

    /// Ends an override; returns it if there was one.
    #[must_use]
    pub fn clear_override(&self, author: &str) -> Option<Override> {
        let ended = {
            let mut core = self.lock();
            core.orders.push(Order::Clear);
            core.state.current_override().cloned()
        };
        self.note(author, "ended the override".into());
        self.poke.notify_one();
        ended
    }

    /// Who changed what, latest first; the last thousand entries.
    #[must_use]
    pub fn audit(&self) -> Vec<Audit> {
        self.lock().audit.iter().cloned().collect()
    }

    /// The time by the loop's clock.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    fn note(&self, author: &str, action: String) {
        tracing::info!(author, "{action}");
        let entry = Audit {
            at: self.now(),
            author: author.to_owned(),
            action,
        };
        let mut core = self.lock();
        core.audit.push_front(entry);
        core.audit.truncate(AUDIT);
    }

    /// Somebody waits although there is no replica: decide at once, and count it as demand.
    pub fn wake(&self) {
        self.lock().wake = true;
        self.poke.notify_one();
    }

    /// Decides at once instead of at the end of the interval.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Waits for the next turn to end. Returns at once if the loop has ended.
    pub async fn next_decision(&self) {
        let mut turns = self.turns.clone();
        turns.borrow_and_update();
        // An error means that the loop is gone; there is nothing to wait for.
        let _ = turns.changed().await;
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while holding it leaves plain data behind.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("spec", &self.lock().spec.name())
            .finish_non_exhaustive()
    }
}
