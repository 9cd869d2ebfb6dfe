//! The read path beyond a local hit: join or start the flight of the key, load, keep.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::flying::{Flying, is_flying};
use super::{Inner, Seen};
use crate::cache::LoadFn;
use crate::clock;
use crate::error::CacheError;
use crate::flight::{Flight, Outcome, Pilot};
use crate::freshness::Age;
use crate::local::Entry;
use crate::lookup::Lookup;
use crate::source::{Found, Loaded, Previous};

/// Turns an outcome into what the caller asked for.
type Finish<V, T> = fn(Option<Arc<V>>) -> Result<T, CacheError>;

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Everything but a fresh local hit.
    #[cold]
    pub(crate) fn beyond<T>(
        self: &Arc<Self>,
        key: &K,
        seen: Seen<V>,
        load: Option<LoadFn<V>>,
        finish: Finish<V, T>,
    ) -> Lookup<T>
    where
        T: Send + 'static,
    {
        match seen {
            Seen::Fresh(value) => Lookup::ready(finish(Some(value))),
            Seen::Absent => Lookup::ready(finish(None)),
            Seen::Ageing(value) => {
                if self.can_look_further(load.is_some()) {
                    self.start(key, load);
                }
                Lookup::ready(finish(Some(value)))
            }
            Seen::Stale(value) => self.stale(key, value, load, finish),
            Seen::Nothing => self.miss(key, load, finish),
        }
    }

    fn miss<T: Send + 'static>(
        self: &Arc<Self>,
        key: &K,
        load: Option<LoadFn<V>>,
        finish: Finish<V, T>,
    ) -> Lookup<T> {
        self.counters.misses.add(1);
        if !self.can_look_further(load.is_some()) {
            return Lookup::ready(finish(None));
        }
        if is_flying(self.id(), self.board.hash(key)) {
            return Lookup::ready(Err(CacheError::Reentrant));
        }
        let flight = self.start(key, load);
        Lookup::slow(async move { flight.landed().await.and_then(finish) })
    }

    /// A stale value is at hand: wait at most the soft time-out for a new one.
    fn stale<T: Send + 'static>(
        self: &Arc<Self>,
        key: &K,
        value: Arc<V>,
        load: Option<LoadFn<V>>,
        finish: Finish<V, T>,
    ) -> Lookup<T> {
        self.counters.misses.add(1);
        if !self.can_look_further(load.is_some()) {
            return Lookup::ready(finish(None));
        }
        let soft = self.policy.load.soft;
        let flight = self.start(key, load);
        if soft.is_zero() || is_flying(self.id(), self.board.hash(key)) {
            self.counters.stale_served.add(1);
            return Lookup::ready(finish(Some(value)));
        }
        let inner = Arc::clone(self);
        Lookup::slow(async move {
            match timeout(soft, flight.landed()).await {
                Ok(Ok(landed)) => finish(landed),
                Ok(Err(_)) | Err(_) => {
                    inner.counters.stale_served.add(1);
                    finish(Some(value))
                }
            }
        })
    }

    /// `false` if nothing below the local tier could bring a value.
    fn can_look_further(&self, loader: bool) -> bool {
        loader
    }

    /// Tells this cache from others of the process.
    fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Joins the flight of a key, or starts it in a task of its own. The task is
    /// detached on purpose: its value serves whoever asks next, and the hard
    /// time-out ends it.
    fn start(self: &Arc<Self>, key: &K, load: Option<LoadFn<V>>) -> Arc<Flight<V>> {
        let (flight, pilot) = self.board.join(key);
        match pilot {
            Some(pilot) => {
                let flying = Flying::begin(self.id(), self.board.hash(key));
                tokio::spawn(flying.run(fly(Arc::clone(self), pilot, load)));
            }
            None => self.counters.joined.add(1),
        }
        flight
    }

    /// A value that landed between the caller's look and the start of this flight.
    fn landed_meanwhile(&self, key: &K) -> Option<Arc<V>> {
        let entry = self.store.get(key)?;
        (entry.life.age(self.clock.exact()) == Age::Fresh)
            .then_some(entry.value)
            .flatten()
    }

    async fn look_further(&self, pilot: &Pilot<K, V>, load: Option<LoadFn<V>>) -> Outcome<V> {
        let Some(load) = load else { return Ok(None) };
        let previous = self.previous(pilot.key());
        if previous.is_some() {
            self.counters.refreshes.add(1);
        }
        let kept = previous
            .as_ref()
            .map(|previous| (Arc::clone(&previous.value), previous.etag.clone()));
        match self.load(load, previous).await {
            Ok(loaded) => self.keep(pilot, loaded, kept),
            Err(error) => {
                self.throttle(pilot);
                Err(error)
            }
        }
    }

    /// What the local tier still holds of a key.
    fn previous(&self, key: &K) -> Option<Previous<V>> {
        let entry = self.store.get(key)?;
        let usable = entry.life.age(self.clock.exact()) != Age::Dead;
        let value = entry.value.filter(|_| usable)?;
        Some(Previous {
            value,
            etag: entry.etag,
        })
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
        let panic = PanicCounter(self);
        let begin = clock::now();
        let loaded = timeout(limits.hard, load(previous)).await;
        drop(panic);
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

    /// Keeps what a load brought, unless the key was changed meanwhile.
    fn keep(
        &self,
        pilot: &Pilot<K, V>,
        loaded: Loaded<V>,
        kept: Option<(Arc<V>, Option<Arc<str>>)>,
    ) -> Outcome<V> {
        let Loaded { found, ttl, etag } = loaded;
        let (value, etag) = match (found, kept) {
            (Found::Value(value), _) => (value, etag),
            (Found::Unchanged, Some((value, old))) => (value, etag.or(old)),
            (Found::Unchanged, None) => {
                self.counters.failed.add(1);
                return Err(CacheError::load(
                    "the source answered `unchanged`, but nothing is held",
                ));
            }
            (Found::Absent, _) => {
                self.counters.absent.add(1);
                self.keep_absent(pilot, ttl);
                return Ok(None);
            }
        };
        self.counters.loaded.add(1);
        let entry = Entry {
            value: Some(Arc::clone(&value)),
            life: self.local_life(ttl),
            etag,
        };
        self.keep_local(pilot, entry);
        Ok(Some(value))
    }

    fn keep_local(&self, pilot: &Pilot<K, V>, entry: Entry<V>) {
        let key = pilot.key();
        let kept = pilot.commit(|| {
            self.negatives.remove(key);
            self.store.insert(key.clone(), entry);
        });
        if !kept {
            self.counters.outdated.add(1);
        }
        self.sweep_now_and_then();
    }

    fn keep_absent(&self, pilot: &Pilot<K, V>, ttl: Option<Duration>) {
        let key = pilot.key();
        let life = self.negative_life(ttl);
        pilot.commit(|| {
            self.store.remove(key);
            if let Some(life) = life {
                self.negatives.insert(
                    key.clone(),
                    Entry {
                        value: None,
                        life,
                        etag: None,
                    },
                );
            }
        });
        self.sweep_now_and_then();
    }

    /// After a failed load nobody tries again for a while, if a value can stand in.
    fn throttle(&self, pilot: &Pilot<K, V>) {
        let Some(stale) = self.policy.stale else {
            return;
        };
        let now = self.clock.exact();
        pilot.commit(|| {
            if let Some(mut entry) = self.store.get(pilot.key())
                && entry.life.age(now) != Age::Dead
            {
                entry.life = entry.life.throttled(now, stale.throttle);
                self.store.insert(pilot.key().clone(), entry);
            }
        });
    }
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

/// One flight, from its start to its landing.
async fn fly<K, V>(inner: Arc<Inner<K, V>>, pilot: Pilot<K, V>, load: Option<LoadFn<V>>)
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let outcome = match inner.landed_meanwhile(pilot.key()) {
        Some(value) => Ok(Some(value)),
        None => inner.look_further(&pilot, load).await,
    };
    pilot.land(outcome);
}
