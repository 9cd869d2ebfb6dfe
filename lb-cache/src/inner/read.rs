//! The read path beyond a local hit: join or start the flight of the key.

use std::hash::Hash;
use std::sync::Arc;

use tokio::time::timeout;

use super::ask::Reader;
use super::flying::is_flying;
use super::{Inner, Seen};
use crate::cache::LoadFn;
use crate::error::CacheError;
use crate::flight::Flight;
use crate::lookup::Lookup;

/// Turns an outcome into what the caller asked for.
type Finish<V, T> = fn(Option<Arc<V>>) -> Result<T, CacheError>;

/// Does a caller look one key up, or many together?
#[derive(Clone, Copy)]
pub(super) enum Asks {
    Alone,
    Together,
}

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
        let mut reader = None;
        let lookup = self.look(key, seen, load, finish, Asks::Alone, &mut reader);
        if let Some(reader) = reader {
            reader.start();
        }
        lookup
    }

    /// Everything but a fresh local hit. If a reader comes along, nobody asks the
    /// tiers before it is started.
    pub(super) fn look<T>(
        self: &Arc<Self>,
        key: &K,
        seen: Seen<V>,
        load: Option<LoadFn<V>>,
        finish: Finish<V, T>,
        asks: Asks,
        reader: &mut Option<Reader<K, V>>,
    ) -> Lookup<T>
    where
        T: Send + 'static,
    {
        let further = load.is_some() || self.below.is_some();
        match seen {
            Seen::Fresh(value) => Lookup::ended(finish(Some(value))),
            Seen::Absent => Lookup::ended(finish(None)),
            Seen::Ageing(value) => {
                if further {
                    self.join(key, load, reader);
                }
                Lookup::ended(finish(Some(value)))
            }
            Seen::Stale(_) | Seen::Nothing if !further => {
                self.counters.misses.add(1);
                Lookup::ended(finish(None))
            }
            Seen::Stale(value) => {
                self.counters.misses.add(1);
                let reentrant = self.is_loading(key);
                let flight = self.join(key, load, reader);
                self.stale(value, flight, reentrant, finish)
            }
            Seen::Nothing => {
                self.counters.misses.add(1);
                if self.is_loading(key) {
                    return Lookup::ended(Err(CacheError::Reentrant));
                }
                let flight = self.join(key, load, reader);
                let carrier = match asks {
                    Asks::Alone => reader.take().and_then(|reader| reader.carried(&flight)),
                    Asks::Together => None,
                };
                let landed = flight.landed().carrying(carrier);
                Lookup::slow(async move { landed.await.and_then(finish) })
            }
        }
    }

    /// A stale value is at hand: wait at most the soft time-out for a new one.
    fn stale<T: Send + 'static>(
        self: &Arc<Self>,
        value: Arc<V>,
        flight: Arc<Flight<V>>,
        reentrant: bool,
        finish: Finish<V, T>,
    ) -> Lookup<T> {
        let soft = self.policy.load.soft;
        if soft.is_zero() || reentrant {
            self.counters.stale_served.add(1);
            return Lookup::ended(finish(Some(value)));
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

    /// `true` inside the load of this very key: waiting for it would never end.
    fn is_loading(self: &Arc<Self>, key: &K) -> bool {
        is_flying(self.id(), || self.board.hash(key))
    }

    /// Tells this cache from others of the process.
    pub(super) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Joins the flight of a key, or starts it. No caller carries it: its value
    /// serves whoever asks next, and the hard time-out ends it.
    fn join(
        self: &Arc<Self>,
        key: &K,
        mut load: Option<LoadFn<V>>,
        reader: &mut Option<Reader<K, V>>,
    ) -> Arc<Flight<V>> {
        let (flight, pilot) = self.board.join(key, &mut load);
        match pilot {
            Some(pilot) => *reader = self.depart(pilot, load),
            None => self.counters.joined.add(1),
        }
        flight
    }
}
