//! One number per key, in bounded memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::StateStore;

use super::clock::SinceStart;

const SHARDS: usize = 16;

/// Arrival times by key, at most `capacity` of them.
///
/// A key whose time has passed is as good as one never seen. When a shard is
/// full it is swept of those, at most once per `sweep_every`. If it is still full,
/// keys that are not in it share one number: strangers limit each other, but no
/// known key is forgotten and no memory is taken.
pub(super) struct BoundedStore<K> {
    shards: [Mutex<Shard<K>>; SHARDS],
    hasher: RandomState,
    shard_capacity: usize,
    sweep_every: Nanos,
    clock: SinceStart,
}

struct Shard<K> {
    times: HashMap<K, Nanos, RandomState>,
    strangers: Option<Nanos>,
    next_sweep: Nanos,
}

impl<K: Hash + Eq + Clone> BoundedStore<K> {
    pub(super) fn new(capacity: usize, sweep_every: Nanos, clock: SinceStart) -> Self {
        let shard = || Shard {
            times: HashMap::default(),
            strangers: None,
            next_sweep: Nanos::from(0),
        };
        Self {
            shards: std::array::from_fn(|_| Mutex::new(shard())),
            hasher: RandomState::new(),
            shard_capacity: capacity.div_ceil(SHARDS).max(1),
            sweep_every,
            clock,
        }
    }

    /// The same keys by another clock: `carry` says what becomes of their times.
    pub(super) fn carried(
        &self,
        sweep_every: Nanos,
        clock: SinceStart,
        carry: impl Fn(Nanos) -> Option<Nanos>,
    ) -> Self {
        let shard = |at: usize| {
            let shard = lock(&self.shards[at]);
            let carried = |(key, time): (&K, &Nanos)| Some((key.clone(), carry(*time)?));
            Mutex::new(Shard {
                times: shard.times.iter().filter_map(carried).collect(),
                strangers: shard.strangers.and_then(&carry),
                next_sweep: Nanos::from(0),
            })
        };
        Self {
            shards: std::array::from_fn(shard),
            hasher: self.hasher.clone(),
            shard_capacity: self.shard_capacity,
            sweep_every,
            clock,
        }
    }

    /// How many keys are remembered now.
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).times.len())
            .sum()
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

impl<K: Hash + Eq + Clone> Shard<K> {
    /// Makes room by forgetting keys whose time has passed.
    fn sweep(&mut self, now: Nanos, sweep_every: Nanos) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + sweep_every;
        self.times.retain(|_, time| *time > now);
        if self.times.len() < self.times.capacity() / 4 {
            self.times.shrink_to_fit();
        }
    }
}

/// The store as governor sees it; the limiter keeps the other handle.
#[derive(Debug)]
pub(super) struct Kept<K>(pub(super) Arc<BoundedStore<K>>);

impl<K: Hash + Eq + Clone> StateStore for Kept<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let store = &*self.0;
        let mut shard = store.shard(key);
        if let Some(time) = shard.times.get_mut(key) {
            let (answer, next) = decide(Some(*time))?;
            *time = next;
            return Ok(answer);
        }
        if shard.times.len() >= store.shard_capacity {
            shard.sweep(Nanos::from(store.clock.now()), store.sweep_every);
        }
        if shard.times.len() >= store.shard_capacity {
            let (answer, next) = decide(shard.strangers)?;
            shard.strangers = Some(next);
            return Ok(answer);
        }
        let (answer, next) = decide(None)?;
        shard.times.insert(key.clone(), next);
        Ok(answer)
    }
}

impl<K> std::fmt::Debug for BoundedStore<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BoundedStore")
            .field("shard_capacity", &self.shard_capacity)
            .finish_non_exhaustive()
    }
}

/// A panic while a shard was held leaves a number at worst one request old.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
