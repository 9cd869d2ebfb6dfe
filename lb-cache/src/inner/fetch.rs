//! What a flight does when it brings something home: keep it, load it, fill the tiers that missed.

use std::future::poll_fn;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Inner;
use super::held::{Held, Wanting, Write};
use crate::cache::LoadFn;
use crate::clock;
use crate::error::CacheError;
use crate::flight::{Outcome, Pilot};
use crate::freshness::{Age, UnixMillis};
use crate::local::Entry;
use crate::source::{Found, Loaded, Previous};

/// After a failed renewal nobody tries again for so long, where the policy does not say.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// What the tiers told a flight on its way down.
pub(super) struct Told<V> {
    /// The key, as they know it; empty if they were not asked.
    pub(super) wire: Bytes,
    /// Something older that may stand in.
    pub(super) fallback: Option<Held<V>>,
    /// What each tier asked and found wanting still holds.
    pub(super) seen: Vec<Option<Wanting>>,
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
    pub(super) fn adopt(&self, pilot: Pilot<K, V>, held: Held<V>, fills: bool) -> Option<Write<V>> {
        let now = if fills { self.wall() } else { UnixMillis(0) };
        let write = Write {
            value: held.value,
            etag: held.etag,
            cap: held.remaining,
            began: held.asked,
            made: now,
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
        let began = self.wall();
        match self
            .load(load, previous)
            .await
            .and_then(|loaded| self.settle(loaded, held, began))
        {
            Ok(write) => {
                let keep = self.keeper(&write);
                let kept = pilot.commit(|| keep(pilot.key()));
                self.count_kept(kept);
                self.housekeeping();
                (Ok(write.value.clone()), kept.then_some(write))
            }
            Err(error) => {
                let stands_in = self.stand_in(pilot, fallback);
                self.throttle(pilot);
                (stands_in.map(Some).ok_or(error), None)
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
        let begin = clock::now();
        let loaded = timeout(limits.hard, caught(async move { load(previous).await })).await;
        counters
            .load_latency
            .record(clock::now().saturating_duration_since(begin));
        match loaded {
            Ok(Ok(Ok(loaded))) => Ok(loaded),
            Ok(Ok(Err(error))) => {
                counters.failed.add(1);
                Err(CacheError::load(error))
            }
            Ok(Err(Panicked)) => {
                counters.panicked.add(1);
                Err(CacheError::Panicked)
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
        began: UnixMillis,
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
        let made = self.wall();
        Ok(Write {
            value,
            etag,
            cap,
            began,
            made,
        })
    }

    /// Wall time, if there is anybody to tell it to.
    fn wall(&self) -> UnixMillis {
        let below = self.below.as_ref();
        below.map(|below| below.stamp.wall()).unwrap_or_default()
    }

    /// Keeps a value, or that there is none, in the local tier.
    fn keeper(&self, write: &Write<V>) -> impl FnOnce(&K) {
        let has_value = write.value.is_some();
        let entry = match &write.value {
            // Making an entry reads the clock.
            Some(value) => (self.store.keeps() && write.is_lasting()).then(|| {
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
                match entry {
                    Some(entry) => self.store.insert(key.clone(), entry),
                    None => self.store.remove(key),
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

    /// The value of a lower tier that nobody could renew: as good as ever while it is
    /// fresh there; later, if the policy allows, for want of one here, and then for a
    /// while without asking anybody again.
    pub(super) fn stand_in(
        &self,
        pilot: &Pilot<K, V>,
        fallback: Option<Held<V>>,
    ) -> Option<Arc<V>> {
        let held = fallback?;
        let value = held.value.clone()?;
        let life = if held.is_fresh() {
            self.local_life(held.remaining)
        } else {
            let stale = self.policy.stale?;
            if self.is_usable(pilot.key()) {
                return None;
            }
            self.counters.stale_served.add(1);
            let mut life = self.local_life(Some(stale.throttle));
            life.dead_from = life.stale_from;
            life
        };
        let entry = Entry::new(Some(Arc::clone(&value)), life, held.etag);
        pilot.commit(|| self.store.insert(pilot.key().clone(), entry));
        Some(value)
    }

    /// Does the local tier hold a value that may be served, at least if a load fails?
    fn is_usable(&self, key: &K) -> bool {
        let held = self.store.get(key);
        held.is_some_and(|entry| entry.age(self.clock.exact()) != Age::Dead)
    }

    /// After a failed load nobody tries again for a while, if a value can stand in.
    fn throttle(&self, pilot: &Pilot<K, V>) {
        let stale = self.policy.stale;
        let throttle = stale.map_or(RENEWAL_PAUSE, |stale| stale.throttle);
        let now = self.clock.exact();
        pilot.commit(|| {
            if let Some(entry) = self.store.get(pilot.key())
                && entry.age(now) != Age::Dead
            {
                let life = entry.life().throttled(now, throttle);
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

/// What a loader panicked with has been reported by the panic itself.
struct Panicked;

/// Turns a panic of a loader into an end like any other: it releases all waiters, a stale
/// value stands in for it, and the next attempt waits.
async fn caught<F: Future>(load: F) -> Result<F::Output, Panicked> {
    let mut load = pin!(load);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| load.as_mut().poll(cx))) {
            Ok(step) => step.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}
