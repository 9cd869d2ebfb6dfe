//! A tier that is slow now and then, fails now and then, and keeps its promises unless told otherwise.

use std::time::Duration;

use bytes::Bytes;
use lb_cache::envelope::{Envelope, Kind};
use lb_cache::source::BoxFuture;
use lb_cache::tier::{MemoryTier, Tier, TierError, When};

/// Which promise of a tier is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// It takes a conditional write whatever it holds.
    Conditions,
    /// It acknowledges tombstones and forgets them.
    Tombstones,
}

/// Lets others run before and after every call, and fails some.
pub(crate) struct Jumpy {
    inner: MemoryTier,
    /// Of a hundred calls, so many fail before they take effect, and as many after.
    failing: u64,
    broken: Broken,
}

pub(crate) async fn pause() {
    for _ in 0..fastrand::u64(..4) {
        tokio::task::yield_now().await;
    }
}

impl Jumpy {
    pub(crate) fn new(failing: u64, broken: Broken) -> Self {
        Self {
            inner: MemoryTier::new(10),
            failing,
            broken,
        }
    }

    async fn jump<T>(&self, call: BoxFuture<'_, Result<T, TierError>>) -> Result<T, TierError> {
        pause().await;
        if fastrand::u64(..100) < self.failing {
            return Err(TierError::failed("jumpy"));
        }
        let answer = call.await;
        pause().await;
        if fastrand::u64(..100) < self.failing {
            Err(TierError::TimedOut)
        } else {
            answer
        }
    }
}

impl Tier for Jumpy {
    fn name(&self) -> &'static str {
        "jumpy"
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, TierError>> {
        Box::pin(self.jump(self.inner.get(key)))
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        let is_tombstone =
            Envelope::open(&value).is_ok_and(|envelope| envelope.kind == Kind::Tombstone);
        let when = match self.broken {
            Broken::Conditions => When::Always,
            Broken::Tombstones if is_tombstone => return Box::pin(async { Ok(true) }),
            _ => when,
        };
        Box::pin(self.jump(self.inner.put(key, value, ttl, when)))
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        Box::pin(self.jump(self.inner.clear(prefix)))
    }
}
