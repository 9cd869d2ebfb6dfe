//! The tier in this process: how it is bounded, and the engines that hold it.
//!
//! Lifetimes are ours (see [`crate::freshness`]), bounds and eviction belong to
//! the engine. The default engine is moka; `fast` (quick_cache) costs a fraction
//! of it per hit but counts entries only and knows no strict LRU.
//!
//! ```
//! use std::time::Duration;
//! use lb_cache::{Local, TieredCache};
//!
//! let minutes = Local::ttl(1_000, Duration::from_secs(300)); // a thousand, for five minutes each
//! let recent = Local::lru(500); // the 500 most recently used
//! let bytes = Local::weight(64 << 20).with_ttl(Duration::from_secs(60)); // 64 MiB, as the weigher says
//! let pictures = TieredCache::<u64, Vec<u8>>::builder("pictures")
//!     .local(bytes)
//!     .weigher(|_, picture| u32::try_from(picture.len()).unwrap_or(u32::MAX))
//!     .build()?;
//! # let _ = (minutes, recent, pictures);
//! # Ok::<(), lb_cache::ConfigError>(())
//! ```

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::error::ConfigError;
use crate::policy::not_zero;

mod entry;
#[cfg(feature = "local")]
mod moka;
mod negatives;
mod none;
#[cfg(feature = "fast")]
mod quick;

pub(crate) use entry::Entry;
pub(crate) use negatives::Negatives;

/// What the local tier holds, and for how long.
///
/// ```
/// use std::time::Duration;
/// use lb_cache::Local;
///
/// let recent = Local::ttl(1_000, Duration::from_secs(300));
/// let large = Local::lru(500);
/// assert_ne!(recent, large);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Local {
    pub(crate) capacity: u64,
    pub(crate) by_weight: bool,
    pub(crate) ttl: Option<Duration>,
    pub(crate) eviction: Eviction,
    pub(crate) engine: Engine,
}

/// Which entry goes when the tier is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Eviction {
    /// The least recently used one.
    Lru,
    /// TinyLFU: rarely used keys may not even get in. Best hit rate on skewed traffic.
    TinyLfu,
}

/// Who holds the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Engine {
    /// No local tier: every lookup goes on to the next one.
    None,
    /// moka: LRU, TinyLFU, weights. The default.
    #[cfg(feature = "local")]
    Moka,
    /// quick_cache: the fastest hit; S3-FIFO like eviction; bounded by entries.
    #[cfg(feature = "fast")]
    Fast,
}

impl Engine {
    #[cfg(feature = "local")]
    const DEFAULT: Self = Self::Moka;
    #[cfg(all(feature = "fast", not(feature = "local")))]
    const DEFAULT: Self = Self::Fast;
    #[cfg(not(any(feature = "local", feature = "fast")))]
    const DEFAULT: Self = Self::None;
}

impl Local {
    /// No local tier. What a builder starts with.
    #[must_use]
    pub fn none() -> Self {
        Self {
            capacity: 0,
            by_weight: false,
            ttl: None,
            eviction: Eviction::Lru,
            engine: Engine::None,
        }
    }

    /// At most `entries`, each for at most `ttl`; the least recently used goes first.
    #[must_use]
    pub fn ttl(entries: u64, ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..Self::lru(entries)
        }
    }

    /// At most `entries`, each until it is evicted or invalidated.
    #[must_use]
    pub fn lru(entries: u64) -> Self {
        Self {
            capacity: entries,
            engine: Engine::DEFAULT,
            ..Self::none()
        }
    }

    /// At most this weight in all; needs [`crate::Builder::weigher`]. Bounds hold
    /// after the engine has settled: a burst of writes may overshoot for a moment.
    #[must_use]
    pub fn weight(total: u64) -> Self {
        Self {
            by_weight: true,
            ..Self::lru(total)
        }
    }

    /// Sets the time to live. Default: as constructed.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Which entry goes when the tier is full. Default: [`Eviction::Lru`].
    #[must_use]
    pub fn eviction(mut self, eviction: Eviction) -> Self {
        self.eviction = eviction;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        not_zero(
            "local.capacity",
            self.capacity == 0 && self.engine != Engine::None,
        )?;
        not_zero("local.ttl", self.ttl == Some(Duration::ZERO))?;
        #[cfg(feature = "fast")]
        if self.engine == Engine::Fast && self.by_weight {
            return Err(ConfigError::Engine { what: "weights" });
        }
        Ok(())
    }

    /// Holds the entries in quick_cache. Default: moka.
    #[cfg(feature = "fast")]
    #[must_use]
    pub fn fast(mut self) -> Self {
        self.engine = Engine::Fast;
        self
    }
}

/// Says what an entry weighs.
pub(crate) type Weigher<K, V> = Arc<dyn Fn(&K, &V) -> u32 + Send + Sync>;

/// The entries of one cache.
pub(crate) enum Store<K, V> {
    None(none::None<K, V>),
    #[cfg(feature = "local")]
    Moka(moka::Moka<K, V>),
    #[cfg(feature = "fast")]
    Quick(quick::Quick<K, V>),
}

/// Calls the same method of whichever engine it is.
macro_rules! engine {
    ($self:expr, $engine:ident => $call:expr) => {
        match $self {
            Store::None($engine) => $call,
            #[cfg(feature = "local")]
            Store::Moka($engine) => $call,
            #[cfg(feature = "fast")]
            Store::Quick($engine) => $call,
        }
    };
}

impl<K, V> Store<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    #[cfg_attr(
        not(feature = "local"),
        expect(unused_variables, reason = "only moka weighs")
    )]
    pub(crate) fn new(local: &Local, weigher: Option<Weigher<K, V>>) -> Self {
        match local.engine {
            Engine::None => Self::None(none::None::default()),
            #[cfg(feature = "local")]
            Engine::Moka => Self::Moka(moka::Moka::new(local, weigher)),
            #[cfg(feature = "fast")]
            Engine::Fast => Self::Quick(quick::Quick::new(local)),
        }
    }

    /// `false` if it forgets everything at once.
    pub(crate) fn keeps(&self) -> bool {
        !matches!(self, Self::None(_))
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<Entry<V>> {
        engine!(self, engine => engine.get(key))
    }

    pub(crate) fn insert(&self, key: K, entry: Entry<V>) {
        engine!(self, engine => engine.insert(key, entry));
    }

    pub(crate) fn remove(&self, key: &K) {
        engine!(self, engine => engine.remove(key));
    }

    pub(crate) fn clear(&self) {
        engine!(self, engine => engine.clear());
    }

    /// Entries and weight held now, after the engine has settled its books.
    pub(crate) fn size(&self) -> (u64, u64) {
        engine!(self, engine => engine.size())
    }

    /// The keys whose entry `dead` points out.
    pub(crate) fn keys_where(&self, dead: impl Fn(&Entry<V>) -> bool) -> Vec<K> {
        engine!(self, engine => engine.keys_where(dead))
    }
}
