//! The default engine. moka's own loader and lifetimes stay unused: its loader
//! does not see an invalidation that happens during a load.

use std::hash::Hash;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{Entry, Eviction, Local, Weigher};

pub(crate) struct Moka<K, V>(Cache<K, Entry<V>>);

impl<K, V> Moka<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(local: &Local, weigher: Option<Weigher<K, V>>) -> Self {
        let mut builder = Cache::builder()
            .max_capacity(local.capacity)
            .eviction_policy(match local.eviction {
                Eviction::Lru => EvictionPolicy::lru(),
                Eviction::TinyLfu => EvictionPolicy::tiny_lfu(),
            });
        if local.by_weight
            && let Some(weigher) = weigher
        {
            builder = builder.weigher(move |key, entry: &Entry<V>| {
                entry.value().map_or(1, |value| weigher(key, value))
            });
        }
        Self(builder.build())
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<Entry<V>> {
        self.0.get(key)
    }

    pub(crate) fn insert(&self, key: K, entry: Entry<V>) {
        self.0.insert(key, entry);
    }

    pub(crate) fn remove(&self, key: &K) {
        self.0.invalidate(key);
    }

    pub(crate) fn clear(&self) {
        self.0.invalidate_all();
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        self.0.run_pending_tasks();
        (self.0.entry_count(), self.0.weighted_size())
    }

    pub(crate) fn keys_where(&self, dead: impl Fn(&Entry<V>) -> bool) -> Vec<K> {
        let dead = self.0.iter().filter(|(_, entry)| dead(entry));
        dead.map(|(key, _)| K::clone(&key)).collect()
    }
}
