//! A tier in memory, for tests and for caches that share one process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Answer, Tier, TierError, When};
use crate::clock;
use crate::envelope::generation_bytes;
use crate::source::BoxFuture;

/// Holds bytes in memory, up to a number of keys; when full it forgets expired
/// keys first and then any. Not fast, and meant for tests.
#[derive(Debug)]
pub struct MemoryTier {
    capacity: usize,
    values: Mutex<HashMap<Bytes, (Bytes, Option<Instant>)>>,
}

impl MemoryTier {
    /// Room for so many keys.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            values: Mutex::default(),
        }
    }

    fn values(&self) -> MutexGuard<'_, HashMap<Bytes, (Bytes, Option<Instant>)>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, key: &Bytes) -> Option<Bytes> {
        let now = clock::now();
        let values = self.values();
        let (value, until) = values.get(key)?;
        until.is_none_or(|until| now < until).then(|| value.clone())
    }

    fn write(&self, key: Bytes, value: Bytes, ttl: Option<Duration>, when: &When) -> bool {
        let now = clock::now();
        let mut values = self.values();
        let held = values
            .get(&key)
            .filter(|(_, until)| until.is_none_or(|until| now < until));
        if let When::Unchanged(expected) = when
            && held.map_or(&[][..], |(value, _)| generation_bytes(value)) != expected
        {
            return false;
        }
        if values.len() >= self.capacity && !values.contains_key(&key) {
            values.retain(|_, (_, until)| until.is_none_or(|until| now < until));
            if values.len() >= self.capacity
                && let Some(any) = values.keys().next().cloned()
            {
                values.remove(&any);
            }
        }
        values.insert(key, (value, ttl.and_then(|ttl| now.checked_add(ttl))));
        true
    }
}

impl Tier for MemoryTier {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async move { Ok(self.read(&key)) })
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        Box::pin(async move { Ok(self.write(key, value, ttl, &when)) })
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        Box::pin(async move {
            self.values().retain(|key, _| !key.starts_with(&prefix));
            Ok(())
        })
    }
}
