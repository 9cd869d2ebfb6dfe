//! Many keys at once: started together, so that each part of a tier is asked once.

use std::hash::Hash;
use std::sync::Arc;

use super::ask::Reader;
use super::read::Asks;
use super::{Inner, Seen};
use crate::cache::LoadFn;
use crate::flight::Outcome;
use crate::lookup::Lookup;

/// So many keys are under way at once.
const AT_ONCE: usize = 256;

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Looks up many keys; the answers are in their order.
    pub(crate) async fn many(self: &Arc<Self>, keys: &[K]) -> Vec<Outcome<V>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            for lookup in self.look_together(keys) {
                outcomes.push(lookup.await);
            }
        }
        outcomes
    }

    fn look_together(self: &Arc<Self>, keys: &[K]) -> Vec<Lookup<Option<Arc<V>>>> {
        let mut readers: Vec<Reader<K, V>> = Vec::new();
        let look = |key| match self.local(key) {
            Seen::Fresh(value) => Lookup::ready(Some(value)),
            seen => {
                let mut reader = None;
                let load = self.load_from_source(key);
                let lookup = self.look(key, seen, load, Ok, Asks::Together, &mut reader);
                readers.extend(reader);
                lookup
            }
        };
        let lookups = keys.iter().map(look).collect();
        readers.into_iter().for_each(Reader::start);
        lookups
    }

    /// The source's load of a key.
    pub(crate) fn load_from_source(&self, key: &K) -> Option<LoadFn<V>> {
        let (source, key) = (Arc::clone(self.source.as_ref()?), key.clone());
        Some(Box::new(move |previous| source.load(key, previous)))
    }
}
