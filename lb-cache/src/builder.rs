//! Builds a cache, and checks its policy once.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::breaker::Limits;
use crate::cache::TieredCache;
use crate::clock::Clock;
use crate::codec::{Codec, Postcard};
use crate::error::ConfigError;
use crate::flight::Board;
use crate::inner::Inner;
use crate::inner::ask::Queues;
use crate::inner::below::{Below, CONCURRENT_FILLS, Turns, WRITER_STRIPES};
use crate::level::{Guards, Level, Role};
use crate::local::{Local, Negatives, Store, Weigher};
use crate::policy::{LoadLimits, Negative, Policy, Stale, WriteMode, not_zero};
use crate::source::Source;
use crate::stamp::Stamp;
use crate::stats::Counters;
use crate::tier::Tier;
use crate::wire::{self, WireKey};

/// Collects what a cache is made of. Every setter names its default in [`Policy`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<K, V> {
    name: String,
    policy: Policy,
    weigher: Option<Weigher<K, V>>,
    source: Option<Arc<dyn Source<K, V>>>,
    virtual_time: bool,
    below: Option<Parts<K, V>>,
    guards: Guards,
}

/// What the tiers below need to be built.
struct Parts<K, V> {
    append_wire: fn(&K, &mut Vec<u8>),
    codec: Arc<dyn Codec<V>>,
    shared: Option<Arc<dyn Tier>>,
    database: Option<Arc<dyn Tier>>,
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
            below: None,
            guards: Guards {
                deadline: Duration::from_millis(250),
                breaker: Limits::default(),
            },
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

    /// Share of a life after which one reader renews the value in the background; after a
    /// failure nobody tries again for 1 s, or as [`Stale::throttle`] says. Default: none.
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

    /// The tier that all instances share, and how long values live there. Every
    /// call has a deadline and a breaker; its failures never reach callers.
    pub fn shared(mut self, tier: impl Tier, ttl: Duration) -> Self
    where
        K: WireKey,
        V: Serialize + DeserializeOwned,
    {
        self.parts().shared = Some(Arc::new(tier));
        self.policy.shared_ttl = ttl;
        self
    }

    /// The tier that outlives restarts, asked after the shared one. Values live
    /// there for [`Policy::database_ttl`]. Its failed reads never reach callers,
    /// its failed writes do.
    pub fn database(mut self, tier: impl Tier) -> Self
    where
        K: WireKey,
        V: Serialize + DeserializeOwned,
    {
        self.parts().database = Some(Arc::new(tier));
        self
    }

    /// How values become bytes in the lower tiers. Default: [`Postcard`].
    pub fn codec(mut self, codec: impl Codec<V>) -> Self
    where
        K: WireKey,
        V: Serialize + DeserializeOwned,
    {
        self.parts().codec = Arc::new(codec);
        self
    }

    /// No call to a lower tier takes longer. Default: 250 ms.
    pub fn tier_deadline(mut self, deadline: Duration) -> Self {
        self.guards.deadline = deadline;
        self
    }

    /// When a failing tier is left alone, and for how long. Default: see [`Limits`].
    pub fn breaker(mut self, limits: Limits) -> Self {
        self.guards.breaker = limits;
        self
    }

    fn parts(&mut self) -> &mut Parts<K, V>
    where
        K: WireKey,
        V: Serialize + DeserializeOwned,
    {
        self.below.get_or_insert_with(|| Parts {
            append_wire: K::append_wire,
            codec: Arc::new(Postcard),
            shared: None,
            database: None,
        })
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
        not_zero("tier_deadline", self.guards.deadline.is_zero())?;
        not_zero("breaker.failures", self.guards.breaker.failures == 0)?;
        let clock = Arc::new(Clock::start(self.virtual_time));
        let below = self
            .below
            .map(|parts| parts.build(&self.name, &self.policy, self.guards, &clock));
        let inner = Inner {
            store: Store::new(&self.policy.local, self.weigher),
            negatives: Negatives::new(
                &self
                    .policy
                    .negative
                    .map_or_else(Local::none, |negative| Local::lru(negative.capacity)),
            ),
            board: Arc::new(Board::new()),
            clock,
            counters: Counters::default(),
            permits: Semaphore::new(self.policy.load.concurrent.min(Semaphore::MAX_PERMITS)),
            source: self.source,
            below,
            next_sweep: AtomicU64::new(0),
            next_publish: AtomicU64::new(0),
            name: self.name,
            policy: self.policy,
        };
        Ok(TieredCache {
            inner: Arc::new(inner),
        })
    }
}

impl<K, V> Parts<K, V> {
    fn build(self, name: &str, policy: &Policy, guards: Guards, clock: &Arc<Clock>) -> Below<K, V> {
        let stamp = Arc::new(Stamp::new(
            Arc::clone(clock),
            policy.schema,
            policy.load.hard,
        ));
        let level = |tier, role, ttl| Level::new(tier, role, ttl, guards, Arc::clone(&stamp));
        let shared = self
            .shared
            .map(|tier| level(tier, Role::Shared, Some(policy.shared_ttl)));
        let database = self
            .database
            .map(|tier| level(tier, Role::Database, policy.database_ttl));
        let levels: Vec<_> = shared.into_iter().chain(database).collect();
        Below {
            append_wire: self.append_wire,
            codec: self.codec,
            prefix: wire::prefix(name, policy.schema),
            queues: levels.iter().map(|level| Queues::new(level)).collect(),
            levels,
            stamp,
            writers: (0..WRITER_STRIPES).map(|_| Turns::default()).collect(),
            fills: Arc::new(Semaphore::new(CONCURRENT_FILLS)),
            max_value_bytes: policy.max_value_bytes,
            compress_above: policy.compress_above,
            refresh_at: policy.refresh_at.unwrap_or(1.0),
        }
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
