//! What can go wrong, as callers see it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Any error of a loader, a source or a tier.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a value could not be had. Cheap to clone: all waiters of a load get the same one.
///
/// The source of a failed load is the loader's own error, to be told by its type.
///
/// ```
/// use std::{error::Error, io};
/// use lb_cache::{Local, TieredCache};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), lb_cache::ConfigError> {
/// let cache = TieredCache::<u64, u64>::builder("results").local(Local::lru(10)).build()?;
/// let gone = || async { Err::<u64, _>(io::Error::from(io::ErrorKind::NotFound)) };
/// let error = cache.get_or_load(&1, gone).await.expect_err("it is gone");
/// let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
/// assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::NotFound));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CacheError {
    /// There is no such value, and the source said so.
    Absent,
    /// The loader or source failed, and no stale value could stand in.
    Load(Arc<dyn Error + Send + Sync>),
    /// The loader panicked; every waiter gets this.
    Panicked,
    /// The load was dropped before its end, by a shutdown of the runtime.
    Dropped,
    /// The loader took longer than the hard time-out.
    TimedOut {
        /// The hard time-out.
        after: Duration,
    },
    /// As many loads as allowed are running, and none ended in time.
    Overloaded {
        /// The limit on concurrent loads.
        limit: usize,
    },
    /// A loader asked this cache for the very key that it loads.
    Reentrant,
    /// The durable tier refused a write, so nothing was cached.
    Write {
        /// The name of the tier.
        tier: &'static str,
        /// Its error.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no such value"),
            Self::Load(_) => f.write_str("loading failed"),
            Self::Panicked => f.write_str("the loader panicked"),
            Self::Dropped => f.write_str("the load was dropped"),
            Self::TimedOut { after } => write!(f, "loading took longer than {after:?}"),
            Self::Overloaded { limit } => write!(f, "all {limit} load permits stayed taken"),
            Self::Reentrant => f.write_str("a loader asked for the key that it loads"),
            Self::Write { tier, .. } => write!(f, "tier {tier} refused the write"),
        }
    }
}

/// By hand: a derived source is the `Arc`, behind which no error can be told by its type.
impl Error for CacheError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Load(cause) | Self::Write { source: cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}

impl CacheError {
    /// Wraps the error of a loader.
    pub(crate) fn load(error: impl Into<BoxError>) -> Self {
        Self::Load(Arc::from(error.into()))
    }
}

/// Why a cache could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A count or duration is zero.
    #[error("{what} must not be zero")]
    Zero {
        /// The setting.
        what: &'static str,
    },
    /// A share lies outside `0.0..=1.0`.
    #[error("{what} must lie between 0 and 1, not {value}")]
    Share {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// The namespace is empty, too long or has other characters than `a-z A-Z 0-9 _ - .`
    #[error("{name:?} is no namespace: 1 to 64 of a-z A-Z 0-9 _ - .")]
    Namespace {
        /// The name.
        name: String,
    },
    /// The local tier is bounded by weight, but nobody says what an entry weighs.
    #[error("a local tier bounded by weight needs a weigher")]
    NoWeigher,
    /// The chosen engine cannot do this.
    #[error("this engine of the local tier has no {what}")]
    Engine {
        /// What it cannot do.
        what: &'static str,
    },
}
