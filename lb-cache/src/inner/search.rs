//! A flight on its way down: from tier to tier, and home.

use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;

use super::Inner;
use super::ask::Reader;
use super::fetch::{Told, fill, load_and_land};
use super::flying::Flying;
use super::held::{Answer, Held, Wanting};
use crate::cache::LoadFn;
use crate::flight::Pilot;
use crate::freshness::Age;
use crate::source::Previous;

/// A flight on its way down.
pub(crate) struct Search<K, V> {
    pilot: Pilot<K, V>,
    /// What the local tier still holds: then this is a refresh.
    previous: Option<Previous<V>>,
    load: Option<LoadFn<V>>,
    /// The load that asked for this key.
    parent: Option<Arc<Flying>>,
    found: Option<Held<V>>,
    told: Told<V>,
}

impl<K, V> Search<K, V> {
    /// The key, as the tiers know it; empty only if no tier is asked.
    pub(super) fn wire(&self) -> &Bytes {
        &self.told.wire
    }

    /// Takes the answer of the next tier. A refresh does not take what is ageing itself.
    pub(super) fn take(&mut self, answer: Answer<V>) {
        let refresh = self.previous.is_some();
        match answer {
            Answer::Silent => self.told.seen.push(None),
            Answer::Miss(generation) => self.told.seen.push(Some(Wanting {
                generation,
                is_value: false,
            })),
            Answer::Held(held) if held.is_fresh() && !(refresh && held.ageing) => {
                self.found = Some(held);
            }
            Answer::Held(held) => {
                self.told.seen.push(Some(Wanting {
                    generation: held.generation,
                    is_value: held.value.is_some(),
                }));
                self.told.fallback.get_or_insert(held);
            }
        }
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Sends a flight on its way. If a reader comes back, nobody asks before it is started.
    pub(super) fn depart(
        self: &Arc<Self>,
        pilot: Pilot<K, V>,
        load: Option<LoadFn<V>>,
    ) -> Option<Reader<K, V>> {
        let held = self.store.get(pilot.key());
        let held = held.map(|entry| (entry.age(self.clock.exact()), entry));
        let previous = match &held {
            Some((Age::Dead, _)) | None => None,
            Some((_, entry)) => entry.value().map(|value| Previous {
                value: Arc::clone(value),
                etag: entry.etag().cloned(),
            }),
        };
        // It landed between the caller's look and the start of this flight.
        if let (Some((Age::Fresh, _)), Some(Previous { value, .. })) = (&held, &previous) {
            pilot.land(Ok(Some(Arc::clone(value))));
            return None;
        }
        let below = self.below.as_ref();
        let wire = below.and_then(|below| below.key(pilot.key()));
        let asks = wire.is_some();
        let search = Search {
            pilot,
            previous,
            load,
            parent: Flying::current(),
            found: None,
            told: Told {
                wire: wire.unwrap_or_default(),
                fallback: None,
                seen: Vec::new(),
            },
        };
        if asks {
            return self.proceed(search);
        }
        self.conclude(search);
        None
    }

    /// To the next tier, or home.
    pub(super) fn proceed(self: &Arc<Self>, search: Search<K, V>) -> Option<Reader<K, V>> {
        if let Some(below) = &self.below
            && search.found.is_none()
            && search.told.seen.len() < below.levels.len()
        {
            return Reader::enqueue(self, below, search.told.seen.len(), search);
        }
        self.conclude(search);
        None
    }

    /// Ends a flight that has nobody left to ask: who waits does not wait for the fills.
    fn conclude(self: &Arc<Self>, search: Search<K, V>) {
        let Search {
            pilot,
            previous,
            load,
            parent,
            found,
            mut told,
        } = search;
        let load = match found {
            None => load.or_else(|| pilot.last_load()),
            Some(_) => load,
        };
        match (found, load) {
            (Some(held), _) => {
                let write = self.adopt(pilot, held, told.wants_fill());
                if let Some(write) = write.filter(|_| told.wants_fill()) {
                    tokio::spawn(fill(Arc::clone(self), told, write));
                }
            }
            (None, Some(load)) => {
                let flying = Flying::begin(parent, self.id(), self.board.hash(pilot.key()));
                let load = load_and_land(Arc::clone(self), pilot, load, previous, told);
                tokio::spawn(flying.run(load));
            }
            (None, None) => {
                let outcome = self.stand_in(&pilot, told.fallback.take());
                let previous = previous.map(|previous| previous.value);
                pilot.land(Ok(outcome.or(previous)));
            }
        }
    }
}
