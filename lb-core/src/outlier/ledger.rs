//! The records of a pool's endpoints, and who is ejected by them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::detection::OutlierDetection;
use super::detector::Watched;
use super::observe;
use super::state::{Reason, Record};
use super::success_rate::SuccessRate;
use super::window::BUCKETS;
use crate::endpoint::{Cause, Endpoint, EndpointId, Observation, Observer, Outcome, Stats};
use crate::pool::{Pool, WeakPool};
use crate::pulse::Pulse;
use crate::spread::ByAddress;

/// What all parts of one detector share.
pub(super) struct Ledger {
    /// Read on the request path, replaced when settings or members change.
    view: ArcSwap<View>,
    pool: WeakPool,
    pulse: Pulse,
    /// Held while somebody is ejected or let back, before any record.
    turn: Mutex<()>,
    /// Other settings, other looks.
    pub(super) changed: Notify,
}

/// Settings and members of one moment.
#[derive(Clone)]
struct View {
    config: Arc<OutlierDetection>,
    subjects: Arc<Subjects>,
}

/// By the life of the endpoint. A subject keeps the address of its life taken.
type Subjects = ByAddress<Arc<Subject>>;

/// One life of one endpoint.
struct Subject {
    id: EndpointId,
    life: Weak<Stats>,
    record: Mutex<Record>,
}

impl Ledger {
    pub(super) fn new(config: OutlierDetection, pool: &Pool, now: Instant) -> Self {
        let ledger = Self {
            pulse: Pulse::new(config.interval / BUCKETS, now),
            view: ArcSwap::from_pointee(View {
                config: Arc::new(config),
                subjects: Arc::default(),
            }),
            pool: pool.downgrade(),
            turn: Mutex::new(()),
            changed: Notify::new(),
        };
        ledger.follow_members(&pool.endpoints(), now);
        ledger
    }

    /// The settings in force.
    pub(super) fn config(&self) -> Arc<OutlierDetection> {
        Arc::clone(&self.view.load().config)
    }

    /// Goes on with other settings.
    pub(super) fn set(&self, config: OutlierDetection, now: Instant) {
        let config = Arc::new(config);
        let before = self.view.rcu(|view| View {
            config: Arc::clone(&config),
            subjects: Arc::clone(&view.subjects),
        });
        if before.config.interval != config.interval {
            // Else the last look seems to be long ago.
            self.pulse.beat(now);
            self.pulse.expect(config.interval / BUCKETS);
            for subject in before.subjects.values() {
                subject.record().forget_requests(&config, now);
            }
        }
        self.changed.notify_one();
    }

    /// One look: who left, who comes back, and who behaves worse than the others.
    pub(super) fn look(&self, pool: &Pool, now: Instant) {
        let members = pool.endpoints();
        self.follow_members(&members, now);
        if self.pulse.beat(now) {
            tracing::info!(pool = pool.name(), "resumed: requests before say nothing");
            let view = self.view.load();
            for subject in view.subjects.values() {
                subject.record().forget_requests(&view.config, now);
            }
        }
        self.let_back(pool, now);
        self.judge(pool, &members, now);
    }

    /// Takes newcomers in and forgets who left.
    fn follow_members(&self, members: &[Arc<Endpoint>], now: Instant) {
        let before = Arc::clone(&self.view.load().subjects);
        let known = |member: &Arc<Endpoint>| before.get(&life(member));
        if before.len() == members.len() && members.iter().all(|member| known(member).is_some()) {
            return;
        }
        let subject = |member: &Arc<Endpoint>| {
            let subject = known(member).cloned();
            let subject =
                subject.unwrap_or_else(|| Arc::new(Subject::new(member, &self.config(), now)));
            (life(member), subject)
        };
        let after: Arc<Subjects> = Arc::new(members.iter().map(subject).collect());
        for (life, subject) in before.iter() {
            if !after.contains_key(life) && subject.record().ejection.is_some() {
                subject.clear(now);
            }
        }
        self.view.rcu(|view| View {
            config: Arc::clone(&view.config),
            subjects: Arc::clone(&after),
        });
    }

    fn let_back(&self, pool: &Pool, now: Instant) {
        let view = self.view.load();
        for subject in view.subjects.values() {
            let _turn = lock(&self.turn);
            if subject.record().pass(&view.config, now) {
                subject.mark(pool, false);
                tracing::info!(pool = pool.name(), endpoint = %subject.id, "let back");
                observe::returned(pool.name());
            }
        }
    }

    /// Compares those that are in, and completes rows that found no room before.
    fn judge(&self, pool: &Pool, members: &[Arc<Endpoint>], now: Instant) {
        let view = self.view.load();
        let config = &view.config;
        let (mut watched, mut times) = (Vec::new(), Vec::new());
        let mut fleet = Vec::<SuccessRate>::new();
        let mut in_a_row = Vec::new();
        for endpoint in members {
            let Some(subject) = view.subjects.get(&life(endpoint)) else {
                continue;
            };
            let mut record = subject.record();
            if record.ejection.is_some() {
                continue;
            }
            if record.row >= config.consecutive {
                in_a_row.push((watched.len(), Reason::ConsecutiveFailures));
            }
            fleet.push(record.success_rate(now));
            times.push(record.latency(now));
            watched.push(subject);
        }
        for (at, reason) in in_a_row.into_iter().chain(config.suspects(&fleet, &times)) {
            self.eject(pool, watched[at], reason, now);
        }
    }

    /// Ejects, if the share allows one more.
    #[cold]
    fn eject(&self, pool: &Pool, subject: &Subject, reason: Reason, now: Instant) {
        let id = &subject.id;
        let _turn = lock(&self.turn);
        if subject.record().ejection.is_some() {
            return;
        }
        if !subject.is_member(pool) {
            // It was replaced, and the requests that end now say nothing of its successor.
            return;
        }
        if !self.has_room(pool, id) {
            observe::refused(pool.name());
            return;
        }
        subject.record().eject(reason, &self.config(), now);
        subject.mark(pool, true);
        tracing::warn!(pool = pool.name(), endpoint = %id, reason = reason.code(), "ejected");
        observe::ejected(pool.name(), reason);
    }

    /// Fewer are out than may be, and somebody else is there to take over.
    fn has_room(&self, pool: &Pool, id: &EndpointId) -> bool {
        let members = pool.endpoints();
        let out = |member: &&Arc<Endpoint>| member.stats().has(Cause::Ejected);
        let takes = |other: &Arc<Endpoint>| {
            other.id() != id && other.weight() > 0 && other.stats().causes() == 0
        };
        members.iter().filter(out).count() < self.config().room(members.len())
            && members.iter().any(takes)
    }

    pub(super) fn watched(&self, now: Instant) -> BTreeMap<EndpointId, Watched> {
        let watched = |subject: &Arc<Subject>| {
            let watched = Watched::of(&mut subject.record(), now);
            (subject.id.clone(), watched)
        };
        self.view.load().subjects.values().map(watched).collect()
    }

    /// Takes every verdict back.
    pub(super) fn acquit(&self, pool: &Pool) {
        let _turn = lock(&self.turn);
        for subject in self.view.load().subjects.values() {
            if subject.record().ejection.take().is_some() {
                subject.mark(pool, false);
            }
        }
    }
}

/// One lock of one endpoint per request; the fleet is looked at elsewhere.
impl Observer for Ledger {
    fn observed(&self, endpoint: &Endpoint, observation: &Observation) {
        let view = self.view.load();
        let config = &view.config;
        let (failed, now) = (observation.outcome.is_failure(), observation.now);
        if observation.outcome == Outcome::Overloaded && !config.overload {
            return;
        }
        let subject = view.subjects.get(&life(endpoint));
        let Some(subject) = subject.filter(|_| !self.pulse.is_void(observation)) else {
            return;
        };
        let cancelled = observation.outcome == Outcome::Cancelled;
        let mut record = subject.record();
        if let Some(slowness) = config.slowness {
            // A cancelled request took at least so long: news only if that is long.
            if !failed && (!cancelled || observation.latency >= slowness.excess) {
                record.time(observation.latency, now);
            }
        }
        let complete = !cancelled && record.observe(failed, config, now);
        drop(record);
        if complete && let Some(pool) = self.pool.upgrade() {
            let reason = Reason::ConsecutiveFailures;
            self.eject(&pool, subject, reason, now);
        }
    }
}

/// The same for one life of an endpoint, whatever its weight is.
fn life(endpoint: &Endpoint) -> usize {
    Arc::as_ptr(&endpoint.stats).addr()
}

impl Subject {
    fn new(member: &Endpoint, config: &OutlierDetection, now: Instant) -> Self {
        Self {
            id: member.id().clone(),
            life: Arc::downgrade(&member.stats),
            record: Mutex::new(Record::new(config.interval, now)),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    /// Is this life of the endpoint still in the pool?
    fn is_member(&self, pool: &Pool) -> bool {
        let now_is = pool.endpoint(&self.id);
        now_is.is_some_and(|it| std::ptr::eq(Arc::as_ptr(&it.stats), self.life.as_ptr()))
    }

    /// Puts this life of the endpoint out of the pool's choice, or back.
    fn mark(&self, pool: &Pool, out: bool) {
        if let Some(life) = self.life.upgrade() {
            pool.mark_life(&self.id, &life, Cause::Ejected, out);
        }
    }

    /// It is no member any more: if it comes back it begins without the verdict.
    fn clear(&self, now: Instant) {
        if let Some(stats) = self.life.upgrade() {
            stats.set_causes(Cause::Ejected.bit(), false, now);
        }
    }
}

/// A panic while it was held leaves a whole record.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
