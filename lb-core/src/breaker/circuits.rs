//! The circuits of one pool: told every outcome, asked for trials.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::config::CircuitBreaker;
use super::observe;
use super::state::Circuit;
use crate::clock;
use crate::endpoint::{Cause, Endpoint, Observation, Observer, Outcome, Stats};
use crate::error::ConfigError;
use crate::pool::{Pool, WeakPool};
use crate::pulse::Pulse;

/// How often the process is seen running.
const BEAT: Duration = Duration::from_secs(1);
/// While a trial finds no request that may go there, it is looked for this often.
const PAUSE: Duration = Duration::from_millis(100);
/// No circuit waits for a trial.
const NEVER: u64 = u64::MAX;

/// The breaker of one pool while it is on. Dropping it ends it.
pub(crate) struct Circuits {
    config: ArcSwapOption<CircuitBreaker>,
    pool: WeakPool,
    start: Instant,
    pulse: Pulse,
    /// Nanoseconds from `start` to the first trial that waits for a request.
    next_trial: AtomicU64,
    /// Held while a circuit leaves or enters `Closed`, or a trial begins or ends.
    turn: Mutex<()>,
    heart: Mutex<Option<JoinHandle<()>>>,
}

impl Circuits {
    /// A breaker that is off.
    pub(crate) fn new(pool: WeakPool) -> Arc<Self> {
        let now = clock::now();
        Arc::new(Self {
            config: ArcSwapOption::empty(),
            pool,
            start: now,
            pulse: Pulse::new(BEAT, now),
            next_trial: AtomicU64::new(NEVER),
            turn: Mutex::new(()),
            heart: Mutex::new(None),
        })
    }

    /// Switches it on, over, or off; off closes every circuit.
    pub(crate) fn set(
        self: &Arc<Self>,
        pool: &Pool,
        config: Option<CircuitBreaker>,
    ) -> Result<(), ConfigError> {
        let observer: Arc<dyn Observer> = Arc::clone(self) as _;
        let Some(config) = config else {
            self.config.store(None);
            pool.remove_observer(&observer);
            if let Some(heart) = lock(&self.heart).take() {
                heart.abort();
            }
            self.close_all(pool);
            return Ok(());
        };
        config.check()?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::NoRuntime { what: "breaker" })?;
        let mut heart = lock(&self.heart);
        if heart.is_none() {
            self.pulse.beat(clock::now());
            *heart = Some(runtime.spawn(beat(Arc::downgrade(self))));
            pool.add_observer(&observer);
        }
        self.config.store(Some(Arc::new(config)));
        Ok(())
    }

    /// The settings, while it is on.
    pub(crate) fn config(&self) -> Option<CircuitBreaker> {
        self.config.load().as_deref().cloned()
    }

    /// Some circuit waits for a trial, and its time has come.
    pub(crate) fn is_trial_due(&self, now: Instant) -> bool {
        // Relaxed: who sees an old value takes the lock and finds nothing, or the next
        // request is the trial.
        let next = self.next_trial.load(Ordering::Relaxed);
        next != NEVER && self.nanos(now) >= next
    }

    /// The trial of this endpoint, if its time has come.
    #[cold]
    pub(crate) fn trial(self: &Arc<Self>, endpoint: &Arc<Endpoint>, now: Instant) -> Option<Trial> {
        let turn = lock(&self.turn);
        let next = endpoint.stats.circuit().trial(now)?;
        *endpoint.stats.circuit() = next;
        let pool = self.pool.upgrade()?;
        self.changed(&pool, endpoint, next, &turn);
        drop(turn);
        Some(Trial {
            circuits: Arc::clone(self),
            endpoint: Arc::clone(endpoint),
            settled: false,
        })
    }

    /// Nobody could take the trial now: look again in a while.
    pub(crate) fn postpone(&self, now: Instant) {
        let _turn = lock(&self.turn);
        let next = self.nanos(now + PAUSE);
        // Relaxed: see `is_trial_due`.
        if self.next_trial.load(Ordering::Relaxed) != NEVER {
            self.next_trial.store(next, Ordering::Relaxed);
        }
    }

    /// Finds out when the next trial is due: members come and go.
    fn follow_members(&self, pool: &Pool, _turn: &MutexGuard<'_, ()>) {
        let members = pool.endpoints();
        let open = members.iter().filter(|it| it.stats.has(Cause::CircuitOpen));
        let next = open.filter_map(|it| it.stats.circuit().next_trial()).min();
        let next = next.map_or(NEVER, |at| self.nanos(at));
        // Relaxed: see `is_trial_due`; written under the lock only.
        self.next_trial.store(next, Ordering::Relaxed);
        pool.expect_trials(next != NEVER);
    }

    fn close_all(&self, pool: &Pool) {
        let turn = lock(&self.turn);
        for endpoint in pool.endpoints() {
            let open = !endpoint.stats.circuit().is_closed();
            *endpoint.stats.circuit() = Circuit::default();
            if open {
                self.changed(pool, &endpoint, Circuit::default(), &turn);
            }
        }
    }

    /// Makes a change known: to picks, to logs, and to metrics.
    #[cold]
    fn changed(&self, pool: &Pool, endpoint: &Endpoint, to: Circuit, turn: &MutexGuard<'_, ()>) {
        let (name, id) = (pool.name(), endpoint.id());
        // Who is told may panic: the change itself comes first.
        let told = || {
            if !pool.mark_life(id, &endpoint.stats, Cause::CircuitOpen, !to.is_closed()) {
                return;
            }
            match to {
                Circuit::Open { times, .. } => {
                    tracing::warn!(pool = name, endpoint = %id, times, "circuit opened");
                }
                _ => tracing::info!(pool = name, endpoint = %id, state = to.code(), "circuit"),
            }
            observe::changed(name, to.code());
            let members = pool.endpoints();
            let open = members.iter().filter(|it| it.stats.has(Cause::CircuitOpen));
            observe::open(name, open.count());
        };
        crate::observe::guarded("breaker", told);
        self.follow_members(pool, turn);
    }

    /// Folds something into a circuit that may open it.
    fn fold(&self, endpoint: &Endpoint, change: impl FnOnce(Circuit) -> Circuit) {
        let (before, after) = {
            let mut circuit = endpoint.stats.circuit();
            let before = *circuit;
            *circuit = change(before);
            (before, *circuit)
        };
        if before.next_trial() == after.next_trial() {
            return;
        }
        let turn = lock(&self.turn);
        let now_is = *endpoint.stats.circuit();
        if let Some(pool) = self.pool.upgrade()
            && now_is == after
        {
            self.changed(&pool, endpoint, now_is, &turn);
        }
    }

    /// It was cancelled, or under way while this process stood still.
    fn says_nothing(&self, observation: &Observation) -> bool {
        observation.outcome == Outcome::Cancelled || self.pulse.is_void(observation)
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_nanos() as u64
    }
}

impl Drop for Circuits {
    fn drop(&mut self) {
        if let Some(heart) = lock(&self.heart).take() {
            heart.abort();
        }
    }
}

/// One lock of one endpoint per answer.
impl Observer for Circuits {
    fn observed(&self, endpoint: &Endpoint, observation: &Observation) {
        let config = self.config.load();
        let Some(config) = config.as_deref() else {
            return;
        };
        if self.says_nothing(observation) {
            return;
        }
        let now = observation.now;
        match rest(observation, config) {
            // A trial's own verdict comes by its lease.
            Some(wait) => self.fold(endpoint, |circuit| match circuit {
                Circuit::HalfOpen { .. } => circuit,
                _ => circuit.rested(wait, config, now),
            }),
            None => {
                let (failed, lot) = (observation.outcome.is_failure(), fastrand::f64());
                self.fold(endpoint, |circuit| circuit.after(failed, config, now, lot));
            }
        }
    }
}

impl fmt::Debug for Circuits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuits")
            .field("config", &self.config.load())
            .finish_non_exhaustive()
    }
}

/// The one request that tries an open endpoint. Dropping it without a verdict gives the
/// turn back.
pub(crate) struct Trial {
    circuits: Arc<Circuits>,
    endpoint: Arc<Endpoint>,
    settled: bool,
}

impl Trial {
    /// How it went.
    pub(crate) fn settle(mut self, observation: &Observation) {
        let config = self.circuits.config();
        let (Some(config), false) = (config, self.circuits.says_nothing(observation)) else {
            return;
        };
        self.settled = true;
        let (now, lot) = (observation.now, fastrand::f64());
        let wait = rest(observation, &config);
        let failed = observation.outcome.is_failure();
        self.end(|circuit| match wait {
            Some(wait) => circuit.rested(wait, &config, now),
            None => circuit.settled(failed, &config, now, lot),
        });
    }

    fn end(&self, change: impl FnOnce(Circuit) -> Circuit) {
        let turn = lock(&self.circuits.turn);
        let stats: &Stats = &self.endpoint.stats;
        let before = *stats.circuit();
        let after = change(before);
        *stats.circuit() = after;
        if let Some(pool) = self.circuits.pool.upgrade()
            && before != after
        {
            self.circuits.changed(&pool, &self.endpoint, after, &turn);
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.settled {
            let now = clock::now();
            self.end(|circuit| circuit.given_back(now));
        }
    }
}

/// How long the endpoint asked to be left alone, if that is followed. No time at all is a
/// refusal like any other.
fn rest(observation: &Observation, config: &CircuitBreaker) -> Option<Duration> {
    let wait = observation.retry_after.filter(|_| config.retry_after)?;
    (!wait.is_zero()).then_some(wait)
}

async fn beat(circuits: std::sync::Weak<Circuits>) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let Some(circuits) = circuits.upgrade() else {
            return;
        };
        circuits.pulse.beat(clock::now());
        if let Some(pool) = circuits.pool.upgrade() {
            circuits.follow_members(&pool, &lock(&circuits.turn));
        }
    }
}

/// Whole after any panic: each guarded value is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
