//! A wrapper that makes any tier misbehave, for tests of what is built on a cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::{Answer, Tier, TierError, When};
use crate::source::BoxFuture;

/// How a [`ChaosTier`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chaos {
    /// As the tier inside does.
    Well,
    /// Every call fails at once.
    Failing,
    /// No call ever answers.
    Frozen,
    /// Every call takes effect, but its answer is lost.
    Deaf,
    /// Reads bring damaged bytes.
    Damaged,
}

/// A tier that misbehaves on command. Clones share the command.
#[derive(Debug)]
pub struct ChaosTier<T> {
    inner: Arc<T>,
    mood: Arc<AtomicU8>,
}

impl<T> Clone for ChaosTier<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            mood: Arc::clone(&self.mood),
        }
    }
}

const MOODS: [Chaos; 5] = [
    Chaos::Well,
    Chaos::Failing,
    Chaos::Frozen,
    Chaos::Deaf,
    Chaos::Damaged,
];

impl<T: Tier> ChaosTier<T> {
    /// Wraps a tier; it behaves well at first.
    #[must_use]
    pub fn new(inner: T) -> Self {
        Self {
            inner: Arc::new(inner),
            mood: Arc::default(),
        }
    }

    /// From now on it behaves like this.
    pub fn set(&self, chaos: Chaos) {
        let mood = MOODS
            .iter()
            .position(|mood| *mood == chaos)
            .unwrap_or_default();
        // Relaxed: a lone switch.
        self.mood.store(mood as u8, Ordering::Relaxed);
    }

    fn mood(&self) -> Chaos {
        // Relaxed: a lone switch.
        MOODS[usize::from(self.mood.load(Ordering::Relaxed)) % MOODS.len()]
    }

    async fn pass<O>(&self, call: BoxFuture<'_, Result<O, TierError>>) -> Result<O, TierError> {
        match self.mood() {
            Chaos::Well | Chaos::Damaged => call.await,
            Chaos::Failing => Err(TierError::failed("chaos")),
            Chaos::Frozen => std::future::pending().await,
            Chaos::Deaf => {
                let _lost = call.await;
                std::future::pending().await
            }
        }
    }
}

impl<T: Tier> Tier for ChaosTier<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let mut value = self.pass(self.inner.get(key)).await?;
            if self.mood() == Chaos::Damaged
                && let Some(value) = &mut value
            {
                value.truncate(value.len() / 2);
            }
            Ok(value)
        })
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        Box::pin(self.pass(self.inner.put(key, value, ttl, when)))
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        Box::pin(self.pass(self.inner.clear(prefix)))
    }

    fn fault_domains(&self) -> usize {
        self.inner.fault_domains()
    }

    fn fault_domain(&self, key: &[u8]) -> usize {
        self.inner.fault_domain(key)
    }
}
