//! What a flight does when it brings something home: keep it, load it, fill the tiers that missed.

use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use super::Inner;
use super::held::{Generation, Held, Write};
use crate::cache::LoadFn;
use crate::clock;
use crate::error::CacheError;
use crate::flight::{Outcome, Pilot};
use crate::freshness::Age;
use crate::local::Entry;
use crate::source::{Found, Loaded, Previous};

/// What the tiers told a flight on its way down.
pub(super) struct Told<V> {
    /// The key, as they know it; empty if they were not asked.
    pub(super) wire: Bytes,
    /// Something older that may stand in.
    pub(super) fallback: Option<Held<V>>,
    /// The generation that each tier asked and found wanting still holds.
    pub(super) seen: Vec<Option<Generation>>,
}

impl<V> Told<V> {
    pub(super) fn wants_fill(&self) -> bool {
        self.seen.iter().any(Option::is_some)
    }
}

/// The end of a flight that no tier could answer; who waits does not wait for the fills.
pub(super) async fn load_and_land<K, V>(
    inner: Arc<Inner<K, V>>,
    pilot: Pilot<K, V>,
    load: LoadFn<V>,
    previous: Option<Previous<V>>,
    mut told: Told<V>,
) where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let fallback = told.fallback.take();
    let (outcome, write) = inner.load_and_keep(&pilot, load, previous, fallback).await;
    pilot.land(outcome);
    if let Some(write) = write {
        fill(inner, told, write).await;
    }
}

/// Fills the tiers that missed.
pub(super) async fn fill<K, V>(inner: Arc<Inner<K, V>>, told: Told<V>, write: Write<V>)
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let Some(below) = &inner.below else { return };
    for (level, seen) in below.levels.iter().zip(told.seen) {
        if let Some(seen) = seen {
            below
                .fill(&inner.policy, level, &told.wire, &write, seen)
                .await;
        }
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Takes over what a lower tier holds, and lands; `None` if the key was changed during
    /// the flight. Its life here never exceeds its life there.
    pub(super) fn adopt(&self, pilot: Pilot<K, V>, held: Held<V>) -> Option<Write<V>> {
        let write = Write {
            value: held.value,
            etag: held.etag,
            cap: held.remaining,
        };
        let keep = self.keeper(&write);
        let kept = pilot.commit_and_land(Ok(write.value.clone()), keep);
        self.count_kept(kept);
        kept.then_some(write)
    }

    async fn load_and_keep(
        &self,
        pilot: &Pilot<K, V>,
        load: LoadFn<V>,
        previous: Option<Previous<V>>,
        fallback: Option<Held<V>>,
    ) -> (Outcome<V>, Option<Write<V>>) {
        if previous.is_some() {
            self.counters.refreshes.add(1);
        }
        let previous = previous.or_else(|| fallback.as_ref().and_then(as_previous));
        let held = previous
            .as_ref()
            .map(|previous| (Arc::clone(&previous.value), previous.etag.clone()));
        match self
            .load(load, previous)
            .await
            .and_then(|loaded| self.settle(loaded, held))
        {
            Ok(write) => {
                let keep = self.keeper(&write);
                let kept = pilot.commit(|| keep(pilot.key()));
                self.count_kept(kept);
                self.housekeeping();
                (Ok(write.value.clone()), kept.then_some(write))
            }
            Err(error) => {
                self.throttle(pilot);
                (self.stand_in(pilot, fallback).unwrap_or(Err(error)), None)
            }
        }
    }

    /// Runs a loader under the limits on loads.
    async fn load(
        &self,
        load: LoadFn<V>,
        previous: Option<Previous<V>>,
    ) -> Result<Loaded<V>, CacheError> {
        let limits = self.policy.load;
        let permit = timeout(limits.hard, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(CacheError::Overloaded {
                limit: limits.concurrent,
            });
        };
        let counters = &self.counters;
        counters.loads.add(1);
        let _panic = PanicCounter(self);
        let begin = clock::now();
        let loaded = timeout(limits.hard, load(previous)).await;
        counters
            .load_latency
            .record(clock::now().saturating_duration_since(begin));
        match loaded {
            Ok(Ok(loaded)) => Ok(loaded),
            Ok(Err(error)) => {
                counters.failed.add(1);
                Err(CacheError::load(error))
            }
            Err(_) => {
                counters.timed_out.add(1);
                Err(CacheError::TimedOut { after: limits.hard })
            }
        }
    }

    /// Turns what a loader brought into what shall be written.
    fn settle(
        &self,
        loaded: Loaded<V>,
        held: Option<(Arc<V>, Option<Arc<str>>)>,
    ) -> Result<Write<V>, CacheError> {
        let Loaded {
            found,
            ttl: cap,
            etag,
        } = loaded;
        let (value, etag) = match (found, held) {
            (Found::Value(value), _) => (Some(value), etag),
            (Found::Unchanged, Some((value, old))) => (Some(value), etag.or(old)),
            (Found::Absent, _) => (None, None),
            (Found::Unchanged, None) => {
                self.counters.failed.add(1);
                return Err(CacheError::load(
                    "the source answered `unchanged`, but nothing is held",
                ));
            }
        };
        let counter = if value.is_some() {
            &self.counters.loaded
        } else {
            &self.counters.absent
        };
        counter.add(1);
        Ok(Write { value, etag, cap })
    }

    /// Keeps a value, or that there is none, in the local tier.
    fn keeper(&self, write: &Write<V>) -> impl FnOnce(&K) {
        let has_value = write.value.is_some();
        let entry = match &write.value {
            // Making an entry reads the clock.
            Some(value) => self.store.keeps().then(|| {
                let life = self.local_life(write.cap);
                Entry::new(Some(Arc::clone(value)), life, write.etag.clone())
            }),
            None => self
                .negative_life(write.cap)
                .map(|life| Entry::new(None, life, None)),
        };
        move |key: &K| match (has_value, entry) {
            (true, entry) => {
                self.negatives.remove(key);
                if let Some(entry) = entry {
                    self.store.insert(key.clone(), entry);
                }
            }
            (false, entry) => {
                self.store.remove(key);
                if let Some(entry) = entry {
                    self.negatives.insert(key.clone(), entry);
                }
            }
        }
    }

    fn count_kept(&self, kept: bool) {
        if !kept {
            self.counters.outdated.add(1);
        }
    }

    /// Serves something older from a lower tier, if the policy allows, and asks
    /// nobody again for a while.
    pub(super) fn stand_in(
        &self,
        pilot: &Pilot<K, V>,
        fallback: Option<Held<V>>,
    ) -> Option<Outcome<V>> {
        let stale = self.policy.stale?;
        let held = fallback?;
        let mut life = self.local_life(Some(stale.throttle));
        life.dead_from = life.stale_from;
        let entry = Entry::new(Some(held.value.clone()?), life, held.etag);
        self.counters.stale_served.add(1);
        pilot.commit(|| self.store.insert(pilot.key().clone(), entry));
        Some(Ok(held.value))
    }

    /// After a failed load nobody tries again for a while, if a value can stand in.
    fn throttle(&self, pilot: &Pilot<K, V>) {
        let Some(stale) = self.policy.stale else {
            return;
        };
        let now = self.clock.exact();
        pilot.commit(|| {
            if let Some(entry) = self.store.get(pilot.key())
                && entry.age(now) != Age::Dead
            {
                let life = entry.life().throttled(now, stale.throttle);
                self.store
                    .insert(pilot.key().clone(), entry.with_life(life));
            }
        });
    }
}

fn as_previous<V>(held: &Held<V>) -> Option<Previous<V>> {
    Some(Previous {
        value: held.value.clone()?,
        etag: held.etag.clone(),
    })
}

/// Counts a panic of the loader when it unwinds.
struct PanicCounter<'a, K, V>(&'a Inner<K, V>);

impl<K, V> Drop for PanicCounter<'_, K, V> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.counters.panicked.add(1);
        }
    }
}
