//! The write path: insert, invalidate, clear.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::error::CacheError;
use crate::freshness::{Life, Terms};
use crate::local::Entry;
use crate::policy::WriteMode;

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) async fn insert(self: &Arc<Self>, key: K, value: Arc<V>) -> Result<(), CacheError> {
        if self.policy.writes == WriteMode::Around {
            return self.invalidate(key).await;
        }
        self.counters.inserts.add(1);
        self.insert_local(
            key,
            Entry {
                value: Some(value),
                life: self.local_life(None),
                etag: None,
            },
        );
        Ok(())
    }

    pub(crate) async fn invalidate(self: &Arc<Self>, key: K) -> Result<(), CacheError> {
        self.counters.invalidations.add(1);
        self.remove_local(&key);
        Ok(())
    }

    pub(crate) async fn clear(self: &Arc<Self>) -> Result<(), CacheError> {
        self.clear_local();
        Ok(())
    }

    /// Takes the flight of the key off the board, then stores: a load that began
    /// earlier keeps nothing.
    pub(crate) fn insert_local(&self, key: K, entry: Entry<V>) {
        let mut flights = self.board.lock(&key);
        flights.remove(&key);
        self.negatives.remove(&key);
        self.store.insert(key, entry);
        drop(flights);
        self.sweep_now_and_then();
    }

    pub(crate) fn remove_local(&self, key: &K) {
        let mut flights = self.board.lock(key);
        flights.remove(key);
        self.negatives.remove(key);
        self.store.remove(key);
    }

    pub(crate) fn clear_local(&self) {
        self.board.clear();
        self.store.clear();
        self.negatives.clear();
    }

    /// The life of a negative entry that is made now; `None` if none is kept.
    pub(crate) fn negative_life(&self, ttl: Option<Duration>) -> Option<Life> {
        let negative = self.policy.negative?;
        let terms = Terms {
            ttl: Some(negative.ttl),
            refresh_at: None,
            stale_for: Duration::ZERO,
            jitter: self.policy.jitter,
        };
        Some(terms.life(self.clock.exact(), ttl, fastrand::u64(..)))
    }
}
