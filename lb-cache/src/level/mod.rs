//! A tier behind its guards: a deadline on each call, breakers, and distrust.
//!
//! A write whose end is unknown leaves the tier with something that may be old.
//! Its key is then *distrusted*: the tier is not asked for it, until a tombstone
//! is known to have arrived. When too many keys would have to be remembered,
//! everything older than this moment is distrusted instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::breaker::{Admission, Breaker, Limits};
use crate::clock;
use crate::freshness::UnixMillis;
use crate::source::BoxFuture;
use crate::stamp::Stamp;
use crate::stats::{TierCounters, TierStats};
use crate::tier::{Tier, TierError, When};

mod distrust;

use distrust::Distrust;

pub(crate) struct Level {
    tier: Arc<dyn Tier>,
    deadline: Duration,
    limits: Limits,
    breakers: Box<[Mutex<Breaker>]>,
    distrust: Mutex<Distrust>,
    stamp: Arc<Stamp>,
    pub(crate) counters: TierCounters,
    pub(crate) role: Role,
    pub(crate) ttl: Option<Duration>,
}

/// What a tier is to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Shared,
    Database,
}

/// How a tier is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guards {
    pub(crate) deadline: Duration,
    pub(crate) breaker: Limits,
}

/// Clearing may take longer than a call for one key.
const CLEAR_DEADLINE: Duration = Duration::from_secs(10);

impl Level {
    pub(crate) fn new(
        tier: Arc<dyn Tier>,
        role: Role,
        ttl: Option<Duration>,
        guards: Guards,
        stamp: Arc<Stamp>,
    ) -> Arc<Self> {
        let domains = tier.fault_domains().max(1);
        Arc::new(Self {
            tier,
            deadline: guards.deadline,
            limits: guards.breaker,
            breakers: (0..domains).map(|_| Mutex::default()).collect(),
            distrust: Mutex::default(),
            stamp,
            counters: TierCounters::default(),
            role,
            ttl,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.tier.name()
    }

    /// The bytes of a key, if the tier is trusted with it.
    pub(crate) async fn get(self: &Arc<Self>, key: &Bytes) -> Result<Option<Bytes>, TierError> {
        if self.distrusts(key) {
            self.counters.skipped.add(1);
            return Err(TierError::LeftAlone);
        }
        self.call(key, self.deadline, |tier| tier.get(key.clone()))
            .await
    }

    /// The bytes of many keys. One answer per key: a failure counts for all.
    pub(crate) async fn get_many(
        self: &Arc<Self>,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Option<Bytes>>, TierError> {
        let Some(first) = keys.first().cloned() else {
            return Ok(Vec::new());
        };
        self.call(&first, self.deadline, |tier| tier.get_many(keys))
            .await
    }

    /// Writes without a condition. If its end is unknown the key is distrusted.
    pub(crate) async fn put(
        self: &Arc<Self>,
        key: &Bytes,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), TierError> {
        match self.write(key, value, ttl, When::Always).await {
            Ok(_) => {
                self.counters.writes.add(1);
                self.trust(key);
                Ok(())
            }
            Err(error) => {
                self.counters.lost_writes.add(1);
                self.distrust(key.clone());
                Err(error)
            }
        }
    }

    /// Fills a key that has not changed since `seen` was read. Losing this write
    /// costs a later load, nothing else.
    pub(crate) async fn fill(
        self: &Arc<Self>,
        key: &Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        seen: Bytes,
    ) {
        if self.distrusts(key) {
            return self.counters.skipped.add(1);
        }
        match self.write(key, value, ttl, When::Unchanged(seen)).await {
            Ok(true) => self.counters.writes.add(1),
            Ok(false) => self.counters.refused_writes.add(1),
            Err(_) => {}
        }
    }

    /// Puts a tombstone, so that a load which began before cannot fill the key.
    pub(crate) async fn bury(self: &Arc<Self>, key: &Bytes) -> Result<(), TierError> {
        let (tombstone, ttl) = self.stamp.tombstone();
        self.put(key, tombstone, Some(ttl)).await
    }

    /// Distrusts everything the tier holds now, then removes it.
    pub(crate) async fn clear(self: &Arc<Self>, prefix: &Bytes) -> Result<(), TierError> {
        self.locked().distrust_all(self.stamp.wall());
        let cleared = self
            .call(prefix, CLEAR_DEADLINE, |tier| tier.clear(prefix.clone()))
            .await;
        if cleared.is_err() {
            self.counters.lost_writes.add(1);
            self.locked().clear_later(prefix.clone());
            self.repair_in_background();
        }
        cleared
    }

    /// `false` for what was written before everything was distrusted.
    pub(crate) fn trusts_since(&self, created: UnixMillis) -> bool {
        self.locked().before.is_none_or(|before| created > before)
    }

    pub(crate) fn distrusts(&self, key: &Bytes) -> bool {
        self.locked().keys.contains(key)
    }

    fn trust(&self, key: &Bytes) {
        self.locked().keys.remove(key);
    }

    fn distrust(self: &Arc<Self>, key: Bytes) {
        let now = self.stamp.wall();
        self.locked().add(key, now);
        self.repair_in_background();
    }

    fn locked(&self) -> MutexGuard<'_, Distrust> {
        self.distrust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(
        self: &Arc<Self>,
        key: &Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> Result<bool, TierError> {
        self.call(key, self.deadline, |tier| {
            tier.put(key.clone(), value, ttl, when)
        })
        .await
    }

    /// One call under the guards.
    async fn call<T>(
        self: &Arc<Self>,
        key: &Bytes,
        deadline: Duration,
        call: impl for<'a> FnOnce(&'a dyn Tier) -> BoxFuture<'a, Result<T, TierError>>,
    ) -> Result<T, TierError> {
        let domain = self.tier.fault_domain(key) % self.breakers.len();
        let begin = clock::now();
        match self.breaker(domain).admit(begin) {
            Admission::Admit => {}
            Admission::Refuse => return self.refuse(),
            Admission::Probe => {
                tokio::spawn(Probe::new(Arc::clone(self), domain).run(key.clone()));
                return self.refuse();
            }
        }
        let answer = tokio::time::timeout(deadline, call(&*self.tier)).await;
        let answer = answer.unwrap_or(Err(TierError::TimedOut));
        let end = clock::now();
        match &answer {
            Ok(_) => self
                .counters
                .latency
                .record(end.saturating_duration_since(begin)),
            Err(TierError::TimedOut) => self.counters.timeouts.add(1),
            Err(_) => self.counters.errors.add(1),
        }
        self.record(
            domain,
            !answer.as_ref().is_err_and(TierError::is_trouble),
            end,
        );
        answer
    }

    fn refuse<T>(&self) -> Result<T, TierError> {
        self.counters.skipped.add(1);
        Err(TierError::LeftAlone)
    }

    fn record(&self, domain: usize, success: bool, now: std::time::Instant) {
        let mut breaker = self.breaker(domain);
        if breaker.record(&self.limits, success, now) {
            let state = breaker.name();
            drop(breaker);
            tracing::warn!(tier = self.tier.name(), domain, state, "breaker changed");
        }
    }

    fn breaker(&self, domain: usize) -> MutexGuard<'_, Breaker> {
        self.breakers[domain]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> TierStats {
        let states: Vec<_> = (0..self.breakers.len())
            .map(|domain| self.breaker(domain).name())
            .collect();
        let worst = ["open", "half-open"]
            .into_iter()
            .find(|state| states.contains(state))
            .unwrap_or("closed");
        self.counters
            .snapshot(self.tier.name(), worst, self.locked().keys.len())
    }
}

/// The one probe of a half-open breaker; dropped early it counts as failed.
struct Probe {
    level: Arc<Level>,
    domain: usize,
    alive: bool,
}

impl Probe {
    fn new(level: Arc<Level>, domain: usize) -> Self {
        Self {
            level,
            domain,
            alive: false,
        }
    }

    async fn run(mut self, key: Bytes) {
        let answer = tokio::time::timeout(self.level.deadline, self.level.tier.get(key)).await;
        self.alive =
            matches!(answer, Ok(answer) if !answer.as_ref().is_err_and(TierError::is_trouble));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.level.record(self.domain, self.alive, clock::now());
    }
}
