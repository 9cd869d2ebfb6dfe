//! The limiter itself, without HTTP around it.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;

use super::clock::SinceStart;
use super::quota::Quota;
use super::store::{BoundedStore, Kept};
use super::{QuotaError, Verdict};

type Governor<K> = governor::RateLimiter<K, Kept<K>, SinceStart, StateInformationMiddleware>;

/// Limits each key by itself. Cheap to clone; clones count together.
///
/// At most `capacity` keys are remembered. When they are used up by keys that are
/// all still limited, new keys share the allowance of one key per sixteenth of the
/// key space, until older ones have refilled.
#[derive(Debug)]
pub struct RateLimiter<K: Hash + Eq + Clone> {
    current: Arc<ArcSwap<Current<K>>>,
}

#[derive(Debug)]
struct Current<K: Hash + Eq + Clone> {
    quota: Quota,
    governor: Governor<K>,
    store: Arc<BoundedStore<K>>,
    clock: SinceStart,
}

/// Keys that are remembered unless said otherwise.
const DEFAULT_CAPACITY: usize = 100_000;

impl<K: Hash + Eq + Clone> RateLimiter<K> {
    /// Limits each key to `quota` and remembers up to 100,000 keys.
    ///
    /// # Errors
    ///
    /// [`QuotaError::OutOfRange`] if the quota cannot be kept.
    pub fn new(quota: Quota) -> Result<Self, QuotaError> {
        Self::with_capacity(quota, DEFAULT_CAPACITY)
    }

    /// Limits each key to `quota` and remembers up to `capacity` keys.
    ///
    /// # Errors
    ///
    /// [`QuotaError::OutOfRange`] if the quota cannot be kept.
    pub fn with_capacity(quota: Quota, capacity: usize) -> Result<Self, QuotaError> {
        let current = ArcSwap::from_pointee(Current::new(quota, capacity)?);
        Ok(Self {
            current: Arc::new(current),
        })
    }

    /// Counts one request of `key`.
    #[must_use]
    pub fn check(&self, key: &K) -> Verdict {
        let current = self.current.load();
        let quota = current.quota;
        match current.governor.check_key(key) {
            Ok(state) => Verdict::Allowed {
                quota,
                remaining: state.remaining_burst_capacity(),
            },
            Err(refusal) => Verdict::Refused {
                quota,
                retry_after: refusal.wait_time_from(current.clock.now()),
            },
        }
    }

    /// Changes the quota. As many requests as a key has used up of the old burst it has
    /// used up of the new one, at most all of it: a change is no way around a limit.
    /// Costs a look at every key; requests of that very moment may not count.
    ///
    /// # Errors
    ///
    /// [`QuotaError::OutOfRange`] if the quota cannot be kept; the old one stays.
    pub fn set_quota(&self, quota: Quota) -> Result<(), QuotaError> {
        let next = self.current.load().under(quota)?;
        self.current.store(Arc::new(next));
        Ok(())
    }

    /// The quota in force.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.current.load().quota
    }

    /// How many keys are remembered now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.current.load().store.len()
    }
}

impl<K: Hash + Eq + Clone> Clone for RateLimiter<K> {
    fn clone(&self) -> Self {
        Self {
            current: Arc::clone(&self.current),
        }
    }
}

impl<K: Hash + Eq + Clone> Current<K> {
    fn new(quota: Quota, capacity: usize) -> Result<Self, QuotaError> {
        let clock = SinceStart::new();
        let store = BoundedStore::new(capacity, sweep_every(quota), clock);
        Self::with(quota, clock, store)
    }

    /// The same keys under another quota.
    fn under(&self, quota: Quota) -> Result<Self, QuotaError> {
        let (clock, now) = (SinceStart::new(), Nanos::from(self.clock.now()));
        let most = quota.refill().as_nanos();
        let carry = |time: Nanos| {
            // Time that is used up, request by request.
            let used = u128::from(time.saturating_sub(now).as_u64());
            let used = used * quota.interval().as_nanos() / self.quota.interval().as_nanos();
            let used = u64::try_from(used.min(most)).ok().filter(|used| *used > 0);
            used.map(Nanos::from)
        };
        let store = self.store.carried(sweep_every(quota), clock, carry);
        Self::with(quota, clock, store)
    }

    fn with(quota: Quota, clock: SinceStart, store: BoundedStore<K>) -> Result<Self, QuotaError> {
        let out_of_range = QuotaError::OutOfRange {
            interval: quota.interval(),
            burst: quota.burst_size(),
        };
        let cells = quota.to_governor().ok_or(out_of_range)?;
        let store = Arc::new(store);
        let kept = Kept(Arc::clone(&store));
        let governor = Governor::new(cells, kept, clock);
        Ok(Self {
            quota,
            governor,
            store,
            clock,
        })
    }
}

fn sweep_every(quota: Quota) -> Nanos {
    Nanos::from(quota.interval().max(Duration::from_millis(100)))
}
