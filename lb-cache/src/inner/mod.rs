//! The machinery behind [`crate::TieredCache`]: state, and what every path shares.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::cache::Inspection;
use crate::clock::{Clock, Moment};
use crate::flight::Board;
use crate::freshness::{Age, Life};
use crate::level::Role;
use crate::local::{Entry, Negatives, Store};
use crate::policy::Policy;
use crate::source::Source;
use crate::stats::{Counters, LocalStats, Stats, TierStats};

use below::Below;

pub(crate) mod ask;
pub(crate) mod below;
mod fetch;
mod flying;
mod held;
mod many;
mod pace;
mod read;
mod search;
mod write;

pub(crate) struct Inner<K, V> {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) store: Store<K, V>,
    pub(crate) negatives: Negatives<K, V>,
    pub(crate) board: Arc<Board<K, V>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) counters: Counters,
    pub(crate) permits: Semaphore,
    pub(crate) source: Option<Arc<dyn Source<K, V>>>,
    pub(crate) below: Option<Below<K, V>>,
    pub(crate) next_sweep: AtomicU64,
    pub(crate) next_publish: AtomicU64,
}

/// What the local tier knows of a key.
pub(crate) enum Seen<V> {
    Fresh(Arc<V>),
    Ageing(Arc<V>),
    Stale(Arc<V>),
    Absent,
    Nothing,
}

/// Dead entries leave the local tier at most this often, after writes.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// `true` for the one caller that shall do what is due, and moves the date.
fn is_due(next: &AtomicU64, now: Moment, every: Duration) -> bool {
    // Relaxed, both: only one caller shall win; nothing else is published with it.
    let due = next.load(Ordering::Relaxed);
    let later = now.after(every).0;
    now.0 >= due
        && next
            .compare_exchange(due, later, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// What the local tier knows of a key. Counts a hit, never a miss.
    #[inline]
    pub(crate) fn local(&self, key: &K) -> Seen<V> {
        let Some(entry) = self.store.get(key) else {
            return self.known_absent(key);
        };
        let now = self.clock.coarse();
        match entry.young(now) {
            Ok(value) => {
                self.clock.hits.count();
                Seen::Fresh(value)
            }
            Err(entry) => self.no_longer_young(key, &entry, now),
        }
    }

    #[cold]
    fn no_longer_young(&self, key: &K, entry: &Entry<V>, now: Moment) -> Seen<V> {
        match (entry.age(now), entry.value()) {
            (Age::Fresh | Age::Ageing, Some(value)) => {
                self.clock.hits.count();
                Seen::Ageing(Arc::clone(value))
            }
            (Age::Stale, Some(value)) => Seen::Stale(Arc::clone(value)),
            _ => self.known_absent(key),
        }
    }

    #[cold]
    fn known_absent(&self, key: &K) -> Seen<V> {
        let absent = self
            .negatives
            .get(key)
            .is_some_and(|entry| entry.age(self.clock.exact()) == Age::Fresh);
        if absent {
            self.counters.negative_hits.add(1);
            Seen::Absent
        } else {
            Seen::Nothing
        }
    }

    pub(crate) fn inspect(&self, key: &K) -> Option<Inspection> {
        let entry = self.store.get(key).or_else(|| self.negatives.get(key))?;
        let (now, life) = (self.clock.exact(), entry.life());
        let left = |end: Moment| (end != Moment::NEVER).then(|| now.until(end));
        Some(Inspection {
            has_value: entry.value().is_some(),
            age: life.age(now),
            fresh_for: left(life.stale_from),
            usable_for: left(life.dead_from),
            etag: entry.etag().map(|etag| etag.as_ref().to_owned()),
        })
    }

    /// The life of an entry that enters the local tier now.
    fn local_life(&self, cap: Option<Duration>) -> Life {
        self.policy
            .local_terms()
            .life(self.clock.exact(), cap, fastrand::u64(..))
    }

    /// What writers do now and then: remove dead entries, so that one nobody asks
    /// for again does not stay for ever, and hand the statistics over.
    fn housekeeping(&self) {
        let now = self.clock.exact();
        if is_due(&self.next_sweep, now, SWEEP_EVERY) {
            self.sweep(now);
        }
        if is_due(&self.next_publish, now, PUBLISH_EVERY) {
            crate::observe::publish(&self.stats());
        }
    }

    fn sweep(&self, now: Moment) {
        let dead = |entry: &Entry<V>| entry.age(now) == Age::Dead;
        let negatives = self.negatives.entries();
        for store in std::iter::once(&self.store).chain(negatives) {
            for key in store.keys_where(dead) {
                let _writer = self.board.lock(&key);
                if store.get(&key).is_some_and(|entry| dead(&entry)) {
                    store.remove(&key);
                }
            }
        }
    }

    fn tier_stats(&self, role: Role) -> Option<TierStats> {
        self.below.as_ref()?.level(role).map(|level| level.stats())
    }

    pub(crate) fn stats(&self) -> Stats {
        let (entries, weight) = self.store.size();
        Stats {
            namespace: self.name.clone(),
            local: LocalStats {
                hits: self.clock.hits.total(),
                negative_hits: self.counters.negative_hits.get(),
                misses: self.counters.misses.get(),
                stale_served: self.counters.stale_served.get(),
                entries,
                weight,
                negative_entries: self.negatives.len(),
            },
            shared: self.tier_stats(Role::Shared),
            database: self.tier_stats(Role::Database),
            loads: self.counters.loads(self.board.len()),
            inserts: self.counters.inserts.get(),
            invalidations: self.counters.invalidations.get(),
        }
    }
}
