//! A pool under construction.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_core::Stream;
use tower::discover::Discover;

use crate::{
    breaker::{CircuitBreaker, Circuits, Gauges, UpstreamLimits},
    candidates::Rules,
    clock,
    endpoint::{EndpointSpec, Fleet, Observer, observers::Observers},
    error::ConfigError,
    health::HealthCheck,
    outlier::OutlierDetection,
    policy::{Policy, PolicyConfig},
    pool::{
        Pool, WeakPool,
        current::Current,
        discover::Collect,
        known,
        members::Members,
        shared::{Change, Shared},
        snapshot::Snapshot,
        watch::{Sets, Watcher},
    },
};

/// A pool under construction; see [`Pool::builder`].
#[must_use = "nothing happens before `build`"]
pub struct PoolBuilder {
    name: String,
    specs: Vec<EndpointSpec>,
    policy: PolicyConfig,
    discover: Option<Sets>,
    observers: Observers,
    rules: Rules,
    limits: UpstreamLimits,
    latency_decay: Duration,
    health: Option<HealthCheck>,
    outlier: Option<OutlierDetection>,
    breaker: Option<CircuitBreaker>,
    extras: http::Extensions,
    keyed: bool,
    failed: Option<ConfigError>,
}

impl PoolBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            specs: Vec::new(),
            policy: PolicyConfig::default(),
            discover: None,
            observers: Observers::default(),
            rules: Rules {
                panic_threshold: 0.5,
                slow_start: Duration::ZERO,
            },
            limits: UpstreamLimits::default(),
            latency_decay: Duration::from_secs(10),
            health: None,
            outlier: None,
            breaker: None,
            extras: http::Extensions::new(),
            keyed: false,
            failed: None,
        }
    }

    /// The members to begin with. Default: none.
    pub fn endpoints<I>(mut self, specs: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<EndpointSpec>,
    {
        self.specs.extend(specs.into_iter().map(Into::into));
        self
    }

    /// Follows a stream of whole sets; the latest wins, and the last one stays
    /// when the stream ends. Endpoints with an unusable address are left out
    /// with a warning. Needs a tokio runtime. Default: no stream.
    pub fn discover(
        mut self,
        sets: impl Stream<Item = Vec<EndpointSpec>> + Send + 'static,
    ) -> Self {
        self.discover = Some(Box::pin(sets));
        self
    }

    /// As [`discover`](Self::discover), from single changes: any
    /// [`tower::discover::Discover`] whose services name endpoints. Default: none.
    pub fn discover_changes<D>(self, changes: D) -> Self
    where
        D: Discover + Send + 'static,
        D::Key: Hash + Eq + Send,
        D::Service: Into<EndpointSpec>,
    {
        self.discover(Collect::new(changes))
    }

    /// Who gets the next request. Default: [`LeastRequest`](crate::policy::LeastRequest).
    pub fn policy(mut self, policy: impl Into<PolicyConfig>) -> Self {
        self.policy = policy.into();
        self
    }

    /// Is told every recorded outcome. Default: nobody.
    pub fn observe(self, observer: impl Observer) -> Self {
        self.observers
            .add(&(Arc::new(observer) as Arc<dyn Observer>));
        self
    }

    /// Below this share of healthy endpoints their health is overlooked: a
    /// wrong probe must not take everything down. 0 never overlooks it.
    /// Default: 0.5.
    pub fn panic_threshold(mut self, share: f64) -> Self {
        self.rules.panic_threshold = share;
        self
    }

    /// A new or recovered endpoint grows from a tenth to all of its share
    /// within this time, under every policy. Default: zero, at once.
    pub fn slow_start(mut self, within: Duration) -> Self {
        self.rules.slow_start = clock::bounded(within);
        self
    }

    /// Requests in flight that one endpoint takes at most. Default: no limit.
    pub fn max_in_flight(mut self, requests: u32) -> Self {
        self.limits.requests_per_endpoint = requests;
        self
    }

    /// How many requests, waiting requests and connections the upstream and each endpoint
    /// take at most. Default: no limit.
    pub fn limits(mut self, limits: UpstreamLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Rests endpoints that fail in a row, and tries them with one request each. Needs a
    /// tokio runtime. Default: off.
    pub fn breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// How fast response times are forgotten (to 37 %). Default: 10 s.
    pub fn latency_decay(mut self, decay: Duration) -> Self {
        self.latency_decay = clock::bounded(decay);
        self
    }

    /// Probes every endpoint from now on, until the pool is dropped. Needs a tokio
    /// runtime. Default: no probes, whoever is a member counts as well.
    pub fn health(mut self, check: HealthCheck) -> Self {
        self.health = Some(check);
        self
    }

    /// Watches the requests of every endpoint from now on and ejects outliers, until
    /// the pool is dropped. Needs a tokio runtime. Default: nobody is ejected.
    pub fn outlier(mut self, detection: OutlierDetection) -> Self {
        self.outlier = Some(detection);
        self
    }

    /// Carries a part of another module along, found again by its type; `checked`
    /// is said by `build`.
    #[cfg_attr(
        not(feature = "affinity"),
        expect(dead_code, reason = "features bring parts")
    )]
    pub(crate) fn extra<T>(mut self, part: T, checked: Result<(), ConfigError>) -> Self
    where
        T: Clone + Send + Sync + 'static,
    {
        self.extras.insert(part);
        self.failed = self.failed.or(checked.err());
        self
    }

    /// Requests bring keys, which a policy has to hash.
    #[cfg_attr(
        not(feature = "affinity"),
        expect(dead_code, reason = "features bring keys")
    )]
    pub(crate) fn keyed(mut self, keyed: bool) -> Self {
        self.keyed = keyed;
        self
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.policy.check()?;
        self.rules.check()?;
        self.limits.check()
    }

    /// Checks everything and starts what was asked for.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names what cannot work.
    pub fn build(mut self) -> Result<Pool, ConfigError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.check()?;
        if self.keyed && !may_hash(&self.policy) {
            let (pool, policy) = (self.name.as_str(), self.policy.name());
            tracing::warn!(
                pool,
                policy,
                "keys have no effect: this policy does not hash"
            );
        }
        let start = clock::now();
        let fleet = Arc::new(Fleet::new(start, self.latency_decay, self.observers));
        let place = known::next_place();
        let mut members = Members::new(place);
        members.replace(self.specs, &fleet, start)?;
        let snapshot = Snapshot::build(Arc::default(), self.rules, &self.policy, None);
        let change = Change::new(self.policy, members, self.rules);
        let shared = Arc::new_cyclic(|shared| Shared {
            gauges: Gauges::new(&self.name, self.limits),
            circuits: Circuits::new(WeakPool::new(shared)),
            name: self.name,
            current: Current::new(snapshot, place),
            timed: AtomicBool::new(false),
            fleet,
            change: Mutex::new(change),
            extras: self.extras,
            settings: Mutex::default(),
            health: ArcSwapOption::empty(),
            outlier: ArcSwapOption::empty(),
            watcher: OnceLock::new(),
        });
        shared.rebuild(&mut shared.change());
        // Tasks start when there is a pool for them to find.
        if let Some(sets) = self.discover {
            let watcher = Watcher::start(sets, Arc::downgrade(&shared))?;
            shared.watcher.get_or_init(|| watcher);
        }
        let pool = Pool { shared };
        if self.health.is_some() {
            pool.set_health(self.health)?;
        }
        if self.breaker.is_some() {
            pool.set_breaker(self.breaker)?;
        }
        if self.outlier.is_some() {
            pool.set_outlier(self.outlier)?;
        }
        Ok(pool)
    }
}

/// A policy from outside may.
fn may_hash(policy: &PolicyConfig) -> bool {
    match policy {
        PolicyConfig::ConsistentHash(_) | PolicyConfig::Custom(_) => true,
        PolicyConfig::PriorityTiers(tiers) => may_hash(&tiers.within),
        PolicyConfig::ZoneAware(zone) => may_hash(&zone.within),
        PolicyConfig::Subset(subset) => may_hash(&subset.within),
        _ => false,
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("name", &self.name)
            .field("endpoints", &self.specs.len())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
