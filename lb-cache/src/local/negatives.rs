//! The keys known to have no value, in a space of their own: they evict no value.

use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Entry, Local, Store};

/// Negative entries. Most caches have none: then this costs one load.
pub(crate) struct Negatives<K, V> {
    entries: Store<K, V>,
    /// Set by the first entry, and never cleared.
    used: AtomicBool,
}

impl<K, V> Negatives<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(local: &Local) -> Self {
        Self {
            entries: Store::new(local, None),
            used: AtomicBool::new(false),
        }
    }

    /// The entries, if there ever was one.
    #[inline]
    pub(crate) fn entries(&self) -> Option<&Store<K, V>> {
        // Relaxed: writers of a key meet under its lock, which orders them; a
        // reader that is a moment too early reads as if it had come before.
        self.used.load(Ordering::Relaxed).then_some(&self.entries)
    }

    pub(crate) fn get(&self, key: &K) -> Option<Entry<V>> {
        self.entries()?.get(key)
    }

    pub(crate) fn insert(&self, key: K, entry: Entry<V>) {
        // Relaxed: see `entries`.
        self.used.store(true, Ordering::Relaxed);
        self.entries.insert(key, entry);
    }

    pub(crate) fn remove(&self, key: &K) {
        if let Some(entries) = self.entries() {
            entries.remove(key);
        }
    }

    pub(crate) fn clear(&self) {
        self.entries.clear();
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries().map_or(0, |entries| entries.size().0)
    }
}
