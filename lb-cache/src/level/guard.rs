//! Every call to a tier: a deadline, a breaker for each of its parts, and a count.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Level;
use crate::breaker::{Admission, Breaker};
use crate::clock;
use crate::source::BoxFuture;
use crate::tier::{Tier, TierError};

impl Level {
    /// One call under the guards.
    pub(super) async fn call<T>(
        self: &Arc<Self>,
        key: &Bytes,
        deadline: Duration,
        call: impl for<'a> FnOnce(&'a dyn Tier) -> BoxFuture<'a, Result<T, TierError>>,
    ) -> Result<T, TierError> {
        let call = call(&*self.tier);
        self.weighted_call(key, Some(deadline), 1, call).await.0
    }

    /// One call that stands for `weight` requests: as many failures if it fails. Says
    /// how long it took, too. Without a deadline the call has one of its own.
    pub(super) async fn weighted_call<T>(
        self: &Arc<Self>,
        key: &Bytes,
        deadline: Option<Duration>,
        weight: u32,
        call: impl Future<Output = Result<T, TierError>>,
    ) -> (Result<T, TierError>, Duration) {
        let domain = self.domain(key);
        let begin = clock::now();
        match self.breaker(domain).admit(begin) {
            Admission::Admit => {}
            Admission::Refuse => return self.refuse(weight),
            Admission::Probe => {
                tokio::spawn(Probe::new(Arc::clone(self), domain).run(key.clone()));
                return self.refuse(weight);
            }
        }
        let answer = match deadline {
            Some(deadline) => tokio::time::timeout(deadline, call).await,
            None => Ok(call.await),
        };
        let answer = answer.unwrap_or(Err(TierError::TimedOut));
        let end = clock::now();
        let took = end.saturating_duration_since(begin);
        match &answer {
            Ok(_) => self.counters.latency.record(took),
            Err(TierError::TimedOut) => self.counters.timeouts.add(1),
            Err(_) => self.counters.errors.add(1),
        }
        self.record(
            domain,
            !answer.as_ref().is_err_and(TierError::is_trouble),
            weight,
            end,
        );
        (answer, took)
    }

    /// So many keys waited behind a question that timed out: they count as it does.
    pub(crate) fn left_behind(&self, domain: usize, keys: usize) {
        if keys > 0 {
            self.counters.skipped.add(keys as u64);
            self.record(
                domain,
                false,
                u32::try_from(keys).unwrap_or(u32::MAX),
                clock::now(),
            );
        }
    }

    fn refuse<T>(&self, weight: u32) -> (Result<T, TierError>, Duration) {
        self.counters.skipped.add(u64::from(weight));
        (Err(TierError::LeftAlone), Duration::ZERO)
    }

    fn record(&self, domain: usize, success: bool, weight: u32, now: Instant) {
        let mut breaker = self.breaker(domain);
        let times = if success {
            1
        } else {
            weight.min(self.limits.failures)
        };
        let changed = (0..times).any(|_| breaker.record(&self.limits, success, now));
        if changed {
            let state = breaker.name();
            drop(breaker);
            tracing::warn!(tier = self.tier.name(), domain, state, "breaker changed");
        }
    }

    pub(super) fn breaker(&self, domain: usize) -> MutexGuard<'_, Breaker> {
        self.breakers[domain]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        self.level.record(self.domain, self.alive, 1, clock::now());
    }
}
