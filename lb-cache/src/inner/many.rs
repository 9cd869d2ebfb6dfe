//! Many keys at once: one question to the first tier below, then each key on its own.

use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;

use super::fetch::Consulted;
use super::{Inner, Seen};
use crate::cache::LoadFn;
use crate::flight::{Flight, Outcome, Pilot};

/// So many keys are asked for in one question.
const BATCH: usize = 64;

/// A key of a batch, on its way.
enum Coming<V> {
    Here(Outcome<V>),
    Landing(Arc<Flight<V>>),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Looks up many keys; the answers are in their order.
    pub(crate) async fn many(self: &Arc<Self>, keys: &[K]) -> Vec<Outcome<V>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            for coming in self.start_batch(batch) {
                outcomes.push(match coming {
                    Coming::Here(outcome) => outcome,
                    Coming::Landing(flight) => flight.landed().await,
                });
            }
        }
        outcomes
    }

    fn start_batch(self: &Arc<Self>, keys: &[K]) -> Vec<Coming<V>> {
        let mut pilots = Vec::new();
        let coming = keys
            .iter()
            .map(|key| self.start_one(key, &mut pilots))
            .collect();
        if !pilots.is_empty() {
            tokio::spawn(fly_together(Arc::clone(self), pilots));
        }
        coming
    }

    fn start_one(self: &Arc<Self>, key: &K, pilots: &mut Vec<Pilot<K, V>>) -> Coming<V> {
        match self.local(key) {
            Seen::Fresh(value) | Seen::Ageing(value) => return Coming::Here(Ok(Some(value))),
            Seen::Absent => return Coming::Here(Ok(None)),
            Seen::Stale(_) | Seen::Nothing => {}
        }
        self.counters.misses.add(1);
        if self.below.is_none() && self.source.is_none() {
            return Coming::Here(Ok(None));
        }
        let (flight, pilot) = self.board.join(key);
        match pilot {
            Some(pilot) => pilots.push(pilot),
            None => self.counters.joined.add(1),
        }
        Coming::Landing(flight)
    }

    /// The source's load of a key.
    pub(crate) fn load_from_source(&self, key: &K) -> Option<LoadFn<V>> {
        let (source, key) = (Arc::clone(self.source.as_ref()?), key.clone());
        Some(Box::new(move |previous| source.load(key, previous)))
    }

    /// Asks the first tier for all keys, in one question.
    async fn consult_together(&self, pilots: Vec<Pilot<K, V>>) -> Vec<(Pilot<K, V>, Consulted<V>)> {
        let Some((below, level)) = self
            .below
            .as_ref()
            .and_then(|below| Some((below, below.levels.first()?)))
        else {
            return pilots
                .into_iter()
                .map(|pilot| (pilot, Consulted::nothing()))
                .collect();
        };
        let wires: Vec<Option<Bytes>> = pilots.iter().map(|pilot| below.key(pilot.key())).collect();
        let asked: Vec<Bytes> = wires
            .iter()
            .flatten()
            .filter(|wire| !level.distrusts(wire))
            .cloned()
            .collect();
        let mut answers = match level.get_many(asked.clone()).await {
            Ok(answers) => asked
                .into_iter()
                .zip(answers)
                .collect::<Vec<_>>()
                .into_iter(),
            Err(_) => Vec::new().into_iter(),
        }
        .peekable();
        let consulted = wires.into_iter().map(|wire| {
            let mut consulted = Consulted::nothing();
            let Some(wire) = wire else { return consulted };
            let answer = answers.next_if(|(asked, _)| *asked == wire);
            let answer = answer.map(|(_, stored)| below.read(level, Ok(stored)));
            consulted.take(answer.unwrap_or(super::below::Answer::Silent), false);
            consulted
        });
        pilots
            .into_iter()
            .zip(consulted.collect::<Vec<_>>())
            .collect()
    }
}

async fn fly_together<K, V>(inner: Arc<Inner<K, V>>, pilots: Vec<Pilot<K, V>>)
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    for (pilot, consulted) in inner.consult_together(pilots).await {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let load = inner.load_from_source(pilot.key());
            let consulted = inner.consult_the_rest(pilot.key(), consulted, false).await;
            inner.finish(pilot, consulted, None, load).await;
        });
    }
}
