//! Builds a cache, and checks its policy once.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::cache::TieredCache;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::flight::Board;
use crate::inner::Inner;
use crate::local::{Local, Store, Weigher};
use crate::policy::{LoadLimits, Negative, Policy, Stale, WriteMode};
use crate::source::Source;
use crate::stats::{Counters, Hits};

/// Collects what a cache is made of. Every setter names its default in [`Policy`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<K, V> {
    name: String,
    policy: Policy,
    weigher: Option<Weigher<K, V>>,
    source: Option<Arc<dyn Source<K, V>>>,
    virtual_time: bool,
}

impl<K, V> Builder<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            policy: Policy::default(),
            weigher: None,
            source: None,
            virtual_time: false,
        }
    }

    /// Replaces the whole policy, for example by a preset; later setters change it further.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What this process holds. Default: nothing.
    pub fn local(mut self, local: Local) -> Self {
        self.policy.local = local;
        self
    }

    /// What an entry weighs, for [`Local::weight`].
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Arc::new(weigher));
        self
    }

    /// Where values come from when no tier has them; [`TieredCache::get`] asks it.
    pub fn source(mut self, source: impl Source<K, V>) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The largest share of a life that is cut off at random. Default: 0.05.
    pub fn jitter(mut self, share: f64) -> Self {
        self.policy.jitter = share;
        self
    }

    /// Share of a life after which one reader renews the value in the background. Default: none.
    pub fn refresh_at(mut self, share: f64) -> Self {
        self.policy.refresh_at = Some(share);
        self
    }

    /// Serves a value up to `serve_for` past its end while a load runs or fails;
    /// after a failure nobody tries again for `throttle`. Default: never.
    pub fn serve_stale(mut self, serve_for: Duration, throttle: Duration) -> Self {
        self.policy.stale = Some(Stale {
            serve_for,
            throttle,
        });
        self
    }

    /// Remembers for `ttl` that there is no value, for up to `capacity` keys. Default: 5 s, 1,000.
    pub fn negative(mut self, ttl: Duration, capacity: u64) -> Self {
        self.policy.negative = Some(Negative { ttl, capacity });
        self
    }

    /// Does not remember that there is no value.
    pub fn no_negative(mut self) -> Self {
        self.policy.negative = None;
        self
    }

    /// `soft`: how long a reader with a stale value waits for a new one (default: zero);
    /// `hard`: how long a load may take (default: 30 s).
    pub fn load_timeouts(mut self, soft: Duration, hard: Duration) -> Self {
        self.policy.load = LoadLimits {
            soft,
            hard,
            ..self.policy.load
        };
        self
    }

    /// So many loads run at once. Default: 64.
    pub fn concurrent_loads(mut self, limit: usize) -> Self {
        self.policy.load.concurrent = limit;
        self
    }

    /// What an insert writes. Default: [`WriteMode::Through`].
    pub fn writes(mut self, mode: WriteMode) -> Self {
        self.policy.writes = mode;
        self
    }

    /// For tests with tokio's paused time: no coarse clock, and wall time follows
    /// the monotonic clock. Costs a clock reading per hit.
    pub fn virtual_time(mut self) -> Self {
        self.virtual_time = true;
        self
    }

    /// Checks everything and builds the cache. Needs no runtime and touches no network.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn build(self) -> Result<TieredCache<K, V>, ConfigError> {
        self.policy.validate(&self.name)?;
        if self.policy.local.by_weight && self.weigher.is_none() {
            return Err(ConfigError::NoWeigher);
        }
        let hits = Arc::<Hits>::default();
        let inner = Inner {
            store: Store::new(&self.policy.local, self.weigher),
            negatives: self.policy.negative.map_or_else(
                || Store::new(&Local::none(), None),
                |negative| Store::new(&Local::lru(negative.capacity), None),
            ),
            board: Arc::new(Board::new()),
            clock: Arc::new(Clock::start(self.virtual_time, Arc::clone(&hits))),
            hits,
            counters: Counters::default(),
            permits: Semaphore::new(self.policy.load.concurrent.min(Semaphore::MAX_PERMITS)),
            source: self.source,
            next_sweep: AtomicU64::new(0),
            name: self.name,
            policy: self.policy,
        };
        Ok(TieredCache {
            inner: Arc::new(inner),
        })
    }
}

impl<K, V> std::fmt::Debug for Builder<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
