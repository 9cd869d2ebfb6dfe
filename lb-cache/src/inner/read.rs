//! The read path beyond a local hit: join or start the flight of the key.

use std::hash::Hash;
use std::sync::Arc;

use tokio::time::timeout;

use super::fetch::fly;
use super::flying::{Flying, is_flying};
use super::{Inner, Seen};
use crate::cache::LoadFn;
use crate::error::CacheError;
use crate::flight::Flight;
use crate::lookup::Lookup;

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
        loader || self.below.is_some()
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
}
