//! The fast engine: quick_cache. Bounded by entries; expired entries leave by eviction or sweep.

use std::hash::Hash;

use quick_cache::sync::Cache;

use super::{Entry, Local};

pub(crate) struct Quick<K, V>(Cache<K, Entry<V>>);

impl<K, V> Quick<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(local: &Local) -> Self {
        Self(Cache::new(
            usize::try_from(local.capacity).unwrap_or(usize::MAX),
        ))
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<Entry<V>> {
        self.0.get(key)
    }

    pub(crate) fn insert(&self, key: K, entry: Entry<V>) {
        self.0.insert(key, entry);
    }

    pub(crate) fn remove(&self, key: &K) {
        self.0.remove(key);
    }

    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        (self.0.len() as u64, self.0.weight())
    }

    pub(crate) fn keys_where(&self, dead: impl Fn(&Entry<V>) -> bool) -> Vec<K> {
        self.0
            .iter()
            .filter(|(_, entry)| dead(entry))
            .map(|(key, _)| key)
            .collect()
    }
}
