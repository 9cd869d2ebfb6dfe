//! A tier behind its guards: a deadline on each call, breakers, and distrust.
//!
//! A write whose end is unknown leaves the tier with something that may be old.
//! Its key is then *distrusted*: the tier is not asked for it, until a tombstone
//! is known to have arrived. When too many keys would have to be remembered,
//! everything older than this moment is distrusted instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::breaker::{Breaker, Limits};
use crate::freshness::UnixMillis;
use crate::stamp::Stamp;
use crate::stats::{TierCounters, TierStats};
use crate::tier::{Answer, Tier, TierError, When};

mod distrust;
mod guard;

use distrust::Distrust;

pub(crate) struct Level {
    tier: Arc<dyn Tier>,
    deadline: Duration,
    limits: Limits,
    breakers: Box<[Mutex<Breaker>]>,
    distrust: Mutex<Distrust>,
    /// The repair of a key and a newer write of it take turns.
    mending: tokio::sync::Mutex<()>,
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
            mending: tokio::sync::Mutex::default(),
            stamp,
            counters: TierCounters::default(),
            role,
            ttl,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.tier.name()
    }

    /// How many parts of the tier fail on their own.
    pub(crate) fn domains(&self) -> usize {
        self.breakers.len()
    }

    /// The part that holds a key.
    pub(crate) fn domain(&self, key: &[u8]) -> usize {
        self.tier.fault_domain(key) % self.breakers.len()
    }

    /// The bytes of keys of one part, as far as the tier is trusted with them: one
    /// answer per key, and how long they took. Asks one question, under one deadline.
    pub(crate) async fn get_many(
        self: &Arc<Self>,
        mut keys: Vec<Bytes>,
    ) -> (Vec<Answer>, Duration) {
        if self.locked().keys.is_empty() {
            return self.ask(keys).await;
        }
        let trusted: Vec<bool> = {
            let distrust = self.locked();
            keys.iter()
                .map(|key| !distrust.keys.contains(key))
                .collect()
        };
        let mut is_trusted = trusted.iter();
        keys.retain(|_| is_trusted.next().is_some_and(|trusted| *trusted));
        self.counters
            .skipped
            .add((trusted.len() - keys.len()) as u64);
        let (answers, took) = self.ask(keys).await;
        let mut answers = answers.into_iter();
        let answer = |trusted: bool| match trusted {
            true => answers.next().unwrap_or(Err(TierError::LeftAlone)),
            false => Err(TierError::LeftAlone),
        };
        (trusted.into_iter().map(answer).collect(), took)
    }

    async fn ask(self: &Arc<Self>, mut keys: Vec<Bytes>) -> (Vec<Answer>, Duration) {
        let count = keys.len();
        let Some(first) = keys.first().cloned() else {
            return (Vec::new(), Duration::ZERO);
        };
        let question = async {
            let answers = match keys.pop() {
                Some(only) if keys.is_empty() => vec![self.tier.get(only).await],
                last => {
                    keys.extend(last);
                    self.tier.get_many(keys).await
                }
            };
            unless_all_failed(answers)
        };
        let bounds_itself = self
            .tier
            .read_bound()
            .is_some_and(|bound| bound <= self.deadline);
        let deadline = (!bounds_itself).then_some(self.deadline);
        let asked = self.weighted_call(&first, deadline, count as u32, question);
        match asked.await {
            (Ok(answers), took) => (answers, took),
            (Err(error), took) => (vec![Err(error); count], took),
        }
    }

    /// Writes without a condition. If its end is unknown the key is distrusted. Before
    /// a clear is made good it fails, for that would take the newer value along.
    pub(crate) async fn put(
        self: &Arc<Self>,
        key: &Bytes,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), TierError> {
        if self.locked().awaits_clear() {
            self.counters.lost_writes.add(1);
            self.distrust(key.clone());
            return Err(TierError::LeftAlone);
        }
        self.overwrite(key, value, ttl).await
    }

    async fn overwrite(
        self: &Arc<Self>,
        key: &Bytes,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), TierError> {
        let _turn = if self.distrusts(key) {
            Some(self.mending.lock().await)
        } else {
            None
        };
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
        self.overwrite(key, tombstone, Some(ttl)).await
    }

    /// Puts a tombstone over a value that has not changed since `seen` was read.
    pub(crate) async fn bury_unchanged(self: &Arc<Self>, key: &Bytes, seen: Bytes) {
        let (tombstone, ttl) = self.stamp.tombstone();
        let when = When::Unchanged(seen);
        match self.write(key, tombstone, Some(ttl), when).await {
            Ok(true) => self.counters.writes.add(1),
            Ok(false) => self.counters.refused_writes.add(1),
            Err(_) => {
                self.counters.lost_writes.add(1);
                self.distrust(key.clone());
            }
        }
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

    /// What was written until then is not trusted; `None` if everything is.
    pub(crate) fn distrusted_until(&self) -> Option<UnixMillis> {
        self.locked().before
    }

    fn distrusts(&self, key: &Bytes) -> bool {
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

/// A question that failed for every key failed as a whole.
fn unless_all_failed(answers: Vec<Answer>) -> Result<Vec<Answer>, TierError> {
    let trouble = |answer: &Answer| answer.as_ref().is_err_and(TierError::is_trouble);
    if answers.iter().all(trouble)
        && let Some(Err(error)) = answers.first()
    {
        return Err(error.clone());
    }
    Ok(answers)
}
