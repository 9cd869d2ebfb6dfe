//! The machinery behind [`crate::TieredCache`]: state, and what every path shares.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::{Clock, Moment};
use crate::flight::Board;
use crate::freshness::{Age, Life};
use crate::level::Role;
use crate::local::{Entry, Store};
use crate::policy::Policy;
use crate::source::Source;
use crate::stats::{Counters, Hits, LocalStats, Stats, TierStats};

use below::Below;

pub(crate) mod below;
mod fetch;
mod flying;
mod many;
mod read;
mod write;

pub(crate) struct Inner<K, V> {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) store: Store<K, V>,
    pub(crate) negatives: Store<K, V>,
    pub(crate) board: Arc<Board<K, V>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) hits: Arc<Hits>,
    pub(crate) counters: Counters,
    pub(crate) permits: Semaphore,
    pub(crate) source: Option<Arc<dyn Source<K, V>>>,
    pub(crate) below: Option<Below<K, V>>,
    pub(crate) next_sweep: AtomicU64,
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

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// What the local tier knows of a key. Counts a hit, never a miss.
    #[inline]
    pub(crate) fn local(&self, key: &K) -> Seen<V> {
        if let Some(Entry {
            value: Some(value),
            life,
            ..
        }) = self.store.get(key)
        {
            match life.age(self.clock.coarse()) {
                Age::Fresh => {
                    self.hits.count();
                    return Seen::Fresh(value);
                }
                Age::Ageing => {
                    self.hits.count();
                    return Seen::Ageing(value);
                }
                Age::Stale => return Seen::Stale(value),
                Age::Dead => {}
            }
        }
        self.known_absent(key)
    }

    #[cold]
    fn known_absent(&self, key: &K) -> Seen<V> {
        let absent = self
            .negatives
            .get(key)
            .is_some_and(|entry| entry.life.age(self.clock.exact()) == Age::Fresh);
        if absent {
            self.counters.negative_hits.add(1);
            Seen::Absent
        } else {
            Seen::Nothing
        }
    }

    /// The life of an entry that enters the local tier now.
    fn local_life(&self, cap: Option<Duration>) -> Life {
        self.policy
            .local_terms()
            .life(self.clock.exact(), cap, fastrand::u64(..))
    }

    /// Removes dead entries now and then; writers call it. Bounds memory in time
    /// as well: an entry nobody asks for again does not stay for ever.
    fn sweep_now_and_then(&self) {
        let now = self.clock.exact();
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.after(SWEEP_EVERY).0;
        // Relaxed, both: only one writer shall win; the sweep orders nothing else.
        let won = self
            .next_sweep
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if now.0 >= due && won.is_ok() {
            self.sweep(now);
        }
    }

    fn sweep(&self, now: Moment) {
        let dead = |entry: &Entry<V>| entry.life.age(now) == Age::Dead;
        for store in [&self.store, &self.negatives] {
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
                hits: self.hits.total(),
                negative_hits: self.counters.negative_hits.get(),
                misses: self.counters.misses.get(),
                stale_served: self.counters.stale_served.get(),
                entries,
                weight,
                negative_entries: self.negatives.size().0,
            },
            shared: self.tier_stats(Role::Shared),
            database: self.tier_stats(Role::Database),
            loads: self.counters.loads(self.board.len()),
            inserts: self.counters.inserts.get(),
            invalidations: self.counters.invalidations.get(),
        }
    }
}
