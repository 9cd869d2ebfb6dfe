//! What can go wrong, as callers see it.

use std::sync::Arc;
use std::time::Duration;

/// Any error of a loader, a source or a tier.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a value could not be had. Cheap to clone: all waiters of a load get the same one.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// There is no such value, and the source said so.
    #[error("there is no such value")]
    Absent,
    /// The loader or source failed, and no stale value could stand in.
    #[error("loading failed")]
    Load(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The loader panicked; every waiter gets this.
    #[error("the loader panicked")]
    Panicked,
    /// The load was dropped before its end, by a shutdown of the runtime.
    #[error("the load was dropped")]
    Dropped,
    /// The loader took longer than the hard time-out.
    #[error("loading took longer than {after:?}")]
    TimedOut {
        /// The hard time-out.
        after: Duration,
    },
    /// As many loads as allowed are running, and none ended in time.
    #[error("all {limit} load permits stayed taken")]
    Overloaded {
        /// The limit on concurrent loads.
        limit: usize,
    },
    /// A loader asked this cache for the very key that it loads.
    #[error("a loader asked for the key that it loads")]
    Reentrant,
    /// The durable tier refused a write, so nothing was cached.
    #[error("tier {tier} refused the write")]
    Write {
        /// The name of the tier.
        tier: &'static str,
        /// Its error.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
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
