//! The write path: insert, invalidate, clear.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::below::Insert;
use super::held::Write;
use crate::error::CacheError;
use crate::freshness::{Life, Terms};
use crate::level::{Level, Role};
use crate::local::Entry;
use crate::policy::WriteMode;
use crate::tier::TierError;

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Runs to its end even if the caller is dropped.
    pub(crate) async fn insert(self: &Arc<Self>, key: K, value: Arc<V>) -> Result<(), CacheError> {
        if self.policy.writes == WriteMode::Around {
            return self.invalidate(key).await;
        }
        self.counters.inserts.add(1);
        let Some(below) = &self.below else {
            self.insert_local(key, self.new_entry(value));
            return Ok(());
        };
        let hash = self.board.hash(&key);
        let insert = below.turns(hash).announce(hash);
        let inner = Arc::clone(self);
        to_the_end(async move { inner.insert_everywhere(key, value, &insert).await }).await
    }

    /// Runs to its end even if the caller is dropped.
    pub(crate) async fn invalidate(self: &Arc<Self>, key: K) -> Result<(), CacheError> {
        self.counters.invalidations.add(1);
        self.remove_local(&key);
        if self.below.is_none() {
            return Ok(());
        }
        let inner = Arc::clone(self);
        to_the_end(async move { inner.bury_everywhere(&key).await }).await
    }

    /// Runs to its end even if the caller is dropped.
    pub(crate) async fn clear(self: &Arc<Self>) -> Result<(), CacheError> {
        self.clear_local();
        if self.below.is_none() {
            return Ok(());
        }
        let inner = Arc::clone(self);
        to_the_end(async move { inner.clear_everywhere().await }).await
    }

    /// Clears one tier, or what this process holds.
    pub(crate) async fn clear_role(self: &Arc<Self>, role: Option<Role>) -> Result<(), CacheError> {
        let Some(role) = role else {
            self.clear_local();
            return Ok(());
        };
        let below = self.below.as_ref();
        let Some((below, level)) = below.and_then(|below| Some((below, below.level(role)?))) else {
            return Ok(());
        };
        let (level, prefix) = (Arc::clone(level), Bytes::copy_from_slice(&below.prefix));
        to_the_end(async move {
            level
                .clear(&prefix)
                .await
                .map_err(|error| refused(&level, error))
        })
        .await
    }

    async fn insert_everywhere(
        &self,
        key: K,
        value: Arc<V>,
        insert: &Insert,
    ) -> Result<(), CacheError> {
        let Some(below) = &self.below else {
            return Ok(());
        };
        let _turn = below.turns(insert.hash).turn.lock().await;
        if insert.is_overtaken() {
            // An invalidation overtook this insert, so the value may be the old one.
            self.counters.outdated.add(1);
            return Ok(());
        }
        let Some(wire) = below.key(&key) else {
            self.insert_local(key, self.new_entry(value));
            return Ok(());
        };
        let now = below.stamp.wall();
        let write = Write {
            value: Some(Arc::clone(&value)),
            etag: None,
            cap: None,
            began: now,
            made: now,
        };
        for level in below.levels.iter().rev() {
            let written = match below.seal(&self.policy, level, &write) {
                Some((sealed, ttl)) => level.put(&wire, sealed, ttl).await,
                // Too large for this tier: what it holds now is old all the same.
                None => level.bury(&wire).await,
            };
            if let (Err(error), Role::Database) = (written, level.role) {
                // Nobody knows what the database holds now: keep nothing above it.
                if let Some(shared) = below.level(Role::Shared) {
                    let _buried_or_distrusted = shared.bury(&wire).await;
                }
                self.remove_local(&key);
                return Err(refused(level, error));
            }
        }
        self.insert_local(key, self.new_entry(value));
        Ok(())
    }

    async fn bury_everywhere(&self, key: &K) -> Result<(), CacheError> {
        let Some(below) = &self.below else {
            return Ok(());
        };
        let hash = self.board.hash(key);
        let turns = below.turns(hash);
        turns.overtake(Some(hash));
        let _turn = turns.turn.lock().await;
        let mut outcome = Ok(());
        if let Some(wire) = below.key(key) {
            for level in below.levels.iter().rev() {
                if let (Err(error), Role::Database) = (level.bury(&wire).await, level.role) {
                    outcome = Err(refused(level, error));
                }
            }
        }
        // Again: a flight that began meanwhile may have read what is buried now.
        self.remove_local(key);
        outcome
    }

    async fn clear_everywhere(&self) -> Result<(), CacheError> {
        let Some(below) = &self.below else {
            return Ok(());
        };
        let _turns = below.all_turns().await;
        let prefix = Bytes::copy_from_slice(&below.prefix);
        let mut outcome = Ok(());
        for level in below.levels.iter().rev() {
            if let (Err(error), Role::Database) = (level.clear(&prefix).await, level.role) {
                outcome = Err(refused(level, error));
            }
        }
        self.clear_local();
        outcome
    }

    fn new_entry(&self, value: Arc<V>) -> Entry<V> {
        Entry::new(Some(value), self.local_life(None), None)
    }

    /// Takes the flight of the key off the board, then stores: a load that began
    /// earlier keeps nothing.
    pub(crate) fn insert_local(&self, key: K, entry: Entry<V>) {
        let mut flights = self.board.lock(&key);
        flights.remove(&key);
        self.negatives.remove(&key);
        self.store.insert(key, entry);
        drop(flights);
        self.housekeeping();
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

/// Runs a write in a task of its own, so that a dropped caller cannot cut it in half.
async fn to_the_end(
    write: impl Future<Output = Result<(), CacheError>> + Send + 'static,
) -> Result<(), CacheError> {
    match tokio::spawn(write).await {
        Ok(outcome) => outcome,
        Err(_) => Err(CacheError::Dropped),
    }
}

fn refused(level: &Level, error: TierError) -> CacheError {
    CacheError::Write {
        tier: level.name(),
        source: Arc::new(error),
    }
}
