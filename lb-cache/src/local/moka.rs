//! The default engine. moka's own loader and lifetimes stay unused: its loader
//! does not see an invalidation that happens during a load.

use std::hash::Hash;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{Entry, Eviction, Local, Weigher};

pub(crate) struct Moka<K, V> {
    cache: Cache<K, Entry<V>>,
    weighs: bool,
}

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
        let weigher = weigher.filter(|_| local.by_weight);
        let weighs = weigher.is_some();
        if let Some(weigher) = weigher {
            builder = builder.weigher(move |key, entry: &Entry<V>| {
                entry.value().map_or(1, |value| weigher(key, value))
            });
        }
        let cache = builder.build();
        Self { cache, weighs }
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<Entry<V>> {
        self.cache.get(key)
    }

    pub(crate) fn insert(&self, key: K, entry: Entry<V>) {
        self.cache.insert(key, entry);
    }

    /// Writers of one key take turns, as everywhere here.
    pub(crate) fn remove(&self, key: &K) {
        // moka 0.12.16 forgets an update that waits to be entered in its books when the key is removed, and keeps the
        // difference of the weights for ever; in time nothing real would have room.
        if self.weighs {
            self.cache.run_pending_tasks();
        }
        self.cache.invalidate(key);
    }

    pub(crate) fn clear(&self) {
        self.cache.invalidate_all();
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        self.cache.run_pending_tasks();
        (self.cache.entry_count(), self.cache.weighted_size())
    }

    pub(crate) fn keys_where(&self, dead: impl Fn(&Entry<V>) -> bool) -> Vec<K> {
        let dead = self.cache.iter().filter(|(_, entry)| dead(entry));
        dead.map(|(key, _)| K::clone(&key)).collect()
    }
}
