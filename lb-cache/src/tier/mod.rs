//! The tiers beyond this process: places that hold bytes under keys.
//!
//! A [`Tier`] is small and object-safe, so that anything can be one. The cache
//! stands in front of it with a deadline on each call and a breaker, and repairs
//! it after an outage, so a tier need not. What it must do: keep the newest of
//! two writes it acknowledged, and refuse a conditional write when the
//! generation of what it holds has changed.
//!
//! ```
//! use lb_cache::tier::{MemoryTier, Tier, When};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), lb_cache::tier::TierError> {
//! let tier = MemoryTier::new(100);
//! tier.put("k".into(), "v".into(), None, When::Always).await?;
//! assert_eq!(tier.get("k".into()).await?, Some("v".into()));
//! # Ok(()) }
//! ```
//!
//! One tier serves many caches, each under its namespace; an `Arc` of a tier is
//! a tier, also of one that is chosen at run time:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use lb_cache::{TieredCache, tier::{MemoryTier, Tier}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tier: Arc<dyn Tier> = Arc::new(MemoryTier::new(100));
//! let hour = Duration::from_secs(3_600);
//! let results = TieredCache::<u64, u64>::builder("results").shared(Arc::clone(&tier), hour).build()?;
//! let progress = TieredCache::<u64, u64>::builder("progress").shared(tier, hour).build()?;
//! results.insert(1, 42).await?;
//! assert_eq!(results.get(&1).await?.as_deref(), Some(&42));
//! assert_eq!(progress.get(&1).await?, None);
//! # Ok(()) }
//! ```

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::BoxError;
use crate::source::BoxFuture;

mod chaos;
mod memory;
mod together;

pub use chaos::{Chaos, ChaosTier};
pub use memory::MemoryTier;
pub(crate) use together::together;

/// What a tier says when it is asked for a key.
pub type Answer = Result<Option<Bytes>, TierError>;

/// A place that holds bytes under keys.
pub trait Tier: Send + Sync + 'static {
    /// What to call it in statistics.
    fn name(&self) -> &'static str;

    /// The bytes of a key.
    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer>;

    /// The bytes of many keys: one answer each, in their order. Keys that are
    /// asked for at about the same time come here together, at most 64 of one
    /// fault domain. Default: [`Tier::get`] for all of them at once.
    fn get_many(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Answer>> {
        Box::pin(together(keys.into_iter().map(|key| self.get(key))))
    }

    /// Writes; `ttl` is when the tier may forget. `false` if the condition did not hold.
    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>>;

    /// Removes every key that begins with `prefix`.
    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>>;

    /// How long [`Tier::get`] and [`Tier::get_many`] take at most, by timers of their
    /// own. Within the cache's deadline it sets none of its own. Default: `None`,
    /// which means that only the cache's deadline ends them.
    fn read_bound(&self) -> Option<Duration> {
        None
    }

    /// How many parts of this tier fail on their own. Default: 1.
    fn fault_domains(&self) -> usize {
        1
    }

    /// The part that holds `key`, below [`Tier::fault_domains`]. Default: 0.
    fn fault_domain(&self, _key: &[u8]) -> usize {
        0
    }
}

impl<T: Tier + ?Sized> Tier for Arc<T> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        (**self).get(key)
    }

    fn get_many(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Answer>> {
        (**self).get_many(keys)
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        (**self).put(key, value, ttl, when)
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        (**self).clear(prefix)
    }

    fn read_bound(&self) -> Option<Duration> {
        (**self).read_bound()
    }

    fn fault_domains(&self) -> usize {
        (**self).fault_domains()
    }

    fn fault_domain(&self, key: &[u8]) -> usize {
        (**self).fault_domain(key)
    }
}

/// The condition of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// None.
    Always,
    /// Only if the tier still holds these generation bytes
    /// (see [`crate::envelope::generation_bytes`]); empty if it held nothing.
    Unchanged(Bytes),
}

/// Why a tier did not answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TierError {
    /// No answer in time.
    TimedOut,
    /// It failed often, and is left alone for a while; see [`crate::breaker`].
    LeftAlone,
    /// It has no room, and refuses writes.
    Full,
    /// It cannot be reached, or failed.
    Failed(Arc<dyn Error + Send + Sync>),
    /// Something else than a value stands under this key. Counts as a miss.
    NotAValue,
    /// Too large for this tier.
    TooLarge {
        /// The size.
        bytes: usize,
    },
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::LeftAlone => f.write_str("left alone after failures"),
            Self::Full => f.write_str("no room"),
            Self::Failed(_) => f.write_str("the tier failed"),
            Self::NotAValue => f.write_str("not a value"),
            Self::TooLarge { bytes } => write!(f, "{bytes} bytes are too large"),
        }
    }
}

/// By hand, as for [`CacheError`](crate::CacheError): the client's own error, and not an `Arc` of it.
impl Error for TierError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(cause) => Some(&**cause),
            _ => None,
        }
    }
}

impl TierError {
    /// Wraps the error of a client, which is the source then.
    ///
    /// ```
    /// use std::{error::Error, io};
    /// use lb_cache::tier::TierError;
    ///
    /// let error = TierError::failed(io::Error::from(io::ErrorKind::ConnectionReset));
    /// assert!(error.source().is_some_and(|cause| cause.is::<io::Error>()));
    /// ```
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed(Arc::from(error.into()))
    }

    /// `true` if the tier is in trouble, and not just this value.
    pub(crate) fn is_trouble(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Failed(_))
    }
}

/// [`Tier::get_many`] of a tier that answers all keys or none.
#[cfg(any(feature = "postgres", feature = "redb"))]
pub(crate) fn all_or_none<'a, F>(
    keys: Vec<Bytes>,
    read: impl FnOnce(Vec<Bytes>) -> F,
) -> BoxFuture<'a, Vec<Answer>>
where
    F: Future<Output = Result<Vec<Option<Bytes>>, TierError>> + Send + 'a,
{
    let count = keys.len();
    let all = read(keys);
    Box::pin(async move {
        match all.await {
            Ok(values) => values.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); count],
        }
    })
}
