//! The task that probes, endpoint by endpoint.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};

use super::check::HealthCheck;
use super::observe;
use super::probe::ProbeError;
use super::state::Health;
use crate::clock;
use crate::endpoint::{Cause, Endpoint, EndpointId};
use crate::error::ConfigError;
use crate::pool::{Pool, WeakPool};

/// New members are noticed within this time.
const LOOK: Duration = Duration::from_secs(1);
/// Probes under way at most.
const AT_ONCE: usize = 64;

/// Probing in the background. Dropping it ends the probing and takes its verdicts
/// back.
#[derive(Debug)]
#[must_use = "the checks end when this is dropped"]
pub struct HealthChecks {
    task: JoinHandle<()>,
    board: Board,
    check: Arc<ArcSwap<HealthCheck>>,
    pool: WeakPool,
}

/// What the checks know of one endpoint.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Checked {
    /// The verdict.
    pub health: Health,
    /// Probes answered, well or not.
    pub probes_total: u64,
    /// Why the last probe that failed did.
    pub last_error: Option<String>,
}

type Board = Arc<Mutex<BTreeMap<EndpointId, Subject>>>;

/// One endpoint under observation.
#[derive(Debug)]
struct Subject {
    endpoint: Arc<Endpoint>,
    checked: Checked,
    due: Instant,
    /// The probe under way.
    under_way: Option<Id>,
}

/// One probe's answer.
struct Answer {
    endpoint: Arc<Endpoint>,
    result: Result<(), ProbeError>,
    took: Duration,
}

// === impl HealthChecks ===

impl HealthChecks {
    pub(super) fn start(check: HealthCheck, pool: &Pool) -> Result<Self, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::NoRuntime { what: "health" })?;
        let board = Board::default();
        let check = Arc::new(ArcSwap::from_pointee(check));
        let shared = (Arc::clone(&check), Arc::clone(&board));
        let task = runtime.spawn(run(shared.0, pool.downgrade(), shared.1));
        Ok(Self {
            task,
            check,
            board,
            pool: pool.downgrade(),
        })
    }

    /// Goes on with another check from the next probe of each endpoint on; the verdicts
    /// stay until then.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] if a setting cannot work; nothing changes then.
    pub fn set(&self, check: HealthCheck) -> Result<(), ConfigError> {
        check.check()?;
        let (now, every) = (clock::now(), check.every);
        self.check.store(Arc::new(check));
        for subject in lock(&self.board).values_mut() {
            // Not all at the same moment, on however many gateways.
            let soon = now + every.mul_f64(fastrand::f64());
            subject.due = subject.due.min(soon);
        }
        Ok(())
    }

    /// What is known of each endpoint, by name.
    #[must_use]
    pub fn checked(&self) -> BTreeMap<EndpointId, Checked> {
        let board = lock(&self.board);
        board
            .iter()
            .map(|(id, subject)| (id.clone(), subject.checked.clone()))
            .collect()
    }
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        self.task.abort();
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        for id in lock(&self.board).keys() {
            pool.mark(id, Cause::Unhealthy, false);
        }
    }
}

/// Probes until the pool is gone.
async fn run(check: Arc<ArcSwap<HealthCheck>>, weak: WeakPool, board: Board) {
    let mut probes = JoinSet::new();
    let mut follow_at = clock::now();
    loop {
        let check = check.load_full();
        let Some(pool) = weak.upgrade() else { return };
        let now = clock::now();
        let next = {
            let mut subjects = lock(&board);
            if now >= follow_at {
                follow_at = now + LOOK;
                follow_members(&mut subjects, &pool.endpoints(), now, check.every);
            }
            start_due(&mut subjects, &mut probes, &check, now);
            next_look(&subjects, now).min(follow_at)
        };
        drop(pool);
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            Some(answer) = probes.join_next() => {
                let Some(pool) = weak.upgrade() else { return };
                // Whoever else has answered by now: to look at all costs more than to settle.
                let others = std::iter::from_fn(|| probes.try_join_next());
                for answer in std::iter::once(answer).chain(others) {
                    let turn = || settle(&mut lock(&board), &pool, answer, &check);
                    crate::observe::guarded("health", turn);
                }
            }
        }
    }
}

/// Forgets who left and takes newcomers in, spread over the first second.
fn follow_members(
    subjects: &mut BTreeMap<EndpointId, Subject>,
    members: &[Arc<Endpoint>],
    now: Instant,
    every: Duration,
) {
    let by_id: HashMap<_, _> = members.iter().map(|it| (it.id(), it)).collect();
    subjects.retain(|id, subject| {
        let member = by_id.get(id);
        member.is_some_and(|member| is_same(member, &subject.endpoint))
    });
    for endpoint in members {
        subjects
            .entry(endpoint.id().clone())
            .or_insert_with(|| Subject {
                endpoint: Arc::clone(endpoint),
                checked: Checked {
                    health: Health::Unknown,
                    probes_total: 0,
                    last_error: None,
                },
                due: now + every.min(LOOK).mul_f64(fastrand::f64()),
                under_way: None,
            });
    }
}

/// The same life of the same endpoint, whatever its weight is now.
fn is_same(one: &Endpoint, other: &Endpoint) -> bool {
    one.id() == other.id() && one.incarnation() == other.incarnation() && one.uri() == other.uri()
}

/// Begins as many probes as may be under way. Whoever has waited longest goes first:
/// by name, the first that hang would keep the last from ever being asked.
fn start_due(
    subjects: &mut BTreeMap<EndpointId, Subject>,
    probes: &mut JoinSet<Answer>,
    check: &HealthCheck,
    now: Instant,
) {
    let room = AT_ONCE.saturating_sub(probes.len());
    if room == 0 {
        return;
    }
    let is_due = |subject: &&mut Subject| subject.under_way.is_none() && subject.due <= now;
    let mut due: Vec<_> = subjects.values_mut().filter(is_due).collect();
    due.sort_unstable_by_key(|subject| subject.due);
    for subject in due.into_iter().take(room) {
        subject.due = now + check.every.mul_f64(0.9 + 0.2 * fastrand::f64());
        let probe = probes.spawn(ask(check.clone(), Arc::clone(&subject.endpoint)));
        subject.under_way = Some(probe.id());
    }
}

async fn ask(check: HealthCheck, endpoint: Arc<Endpoint>) -> Answer {
    let started = clock::now();
    let result = tokio::time::timeout(check.timeout, check.probe.probe(&endpoint)).await;
    let took = clock::now().saturating_duration_since(started);
    Answer {
        result: result.unwrap_or(Err(ProbeError::TimedOut)),
        endpoint,
        took,
    }
}

fn next_look(subjects: &BTreeMap<EndpointId, Subject>, now: Instant) -> Instant {
    let waiting = subjects
        .values()
        .filter(|subject| subject.under_way.is_none());
    // What is due already waits for a probe to end: then it is looked at anyway.
    let next = waiting
        .map(|subject| subject.due)
        .filter(|due| *due > now)
        .min();
    next.map_or(now + LOOK, |next| next.min(now + LOOK))
}

/// Folds an answer in. A probe that panicked costs its endpoint this round only.
fn settle(
    subjects: &mut BTreeMap<EndpointId, Subject>,
    pool: &Pool,
    answer: Result<Answer, JoinError>,
    check: &HealthCheck,
) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(panic) => {
            let mut all = subjects.values_mut();
            if let Some(subject) = all.find(|subject| subject.under_way == Some(panic.id())) {
                subject.under_way = None;
            }
            tracing::warn!(pool = pool.name(), %panic, "a health probe panicked");
            observe::probed(pool.name(), "void");
            return;
        }
    };
    let same = |subject: &&mut Subject| is_same(&subject.endpoint, &answer.endpoint);
    let Some(subject) = subjects.get_mut(answer.endpoint.id()).filter(same) else {
        return;
    };
    subject.under_way = None;
    if answer.result.is_err() && was_suspended(answer.took, check.timeout) {
        observe::probed(pool.name(), "void");
        return;
    }
    subject.fold(pool, answer.result, check);
}

impl Subject {
    fn fold(&mut self, pool: &Pool, result: Result<(), ProbeError>, check: &HealthCheck) {
        let well = result.is_ok();
        let before = self.checked.health;
        self.checked.health = before.after(well, check.thresholds);
        self.checked.probes_total += 1;
        if let Err(error) = result {
            self.checked.last_error = Some(error.to_string());
        }
        let up = self.checked.health.is_up();
        // Also when nothing turned: this life may have been marked before. Whoever has its
        // name by now is left alone.
        let (id, life) = (self.endpoint.id(), &self.endpoint.stats);
        pool.mark_life(id, life, Cause::Unhealthy, !up);
        if up != before.is_up() {
            let (endpoint, why) = (self.endpoint.id(), self.checked.last_error.as_deref());
            tracing::info!(pool = pool.name(), %endpoint, up, why, "health changed");
            observe::changed(pool.name(), up);
        }
        observe::probed(pool.name(), if well { "well" } else { "failed" });
    }
}

/// No probe takes much longer than its time-out, unless this process did not run.
fn was_suspended(took: Duration, timeout: Duration) -> bool {
    took > timeout + timeout.max(Duration::from_secs(1))
}

/// A panic while it was held leaves whole subjects.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
