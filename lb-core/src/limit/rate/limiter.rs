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
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K: Hash + Eq + Clone> {
    current: ArcSwap<Current<K>>,
    capacity: usize,
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
            shared: Arc::new(Shared { current, capacity }),
        })
    }

    /// Counts one request of `key`.
    #[must_use]
    pub fn check(&self, key: &K) -> Verdict {
        let current = self.shared.current.load();
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

    /// Changes the quota. Every key begins anew with a full burst.
    ///
    /// # Errors
    ///
    /// [`QuotaError::OutOfRange`] if the quota cannot be kept; the old one stays.
    pub fn set_quota(&self, quota: Quota) -> Result<(), QuotaError> {
        self.shared
            .current
            .store(Arc::new(Current::new(quota, self.shared.capacity)?));
        Ok(())
    }

    /// The quota in force.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.shared.current.load().quota
    }

    /// How many keys are remembered now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.current.load().store.len()
    }
}

impl<K: Hash + Eq + Clone> Clone for RateLimiter<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Hash + Eq + Clone> Current<K> {
    fn new(quota: Quota, capacity: usize) -> Result<Self, QuotaError> {
        let clock = SinceStart::new();
        let out_of_range = QuotaError::OutOfRange {
            interval: quota.interval(),
            burst: quota.burst_size(),
        };
        let cells = quota.to_governor().ok_or(out_of_range)?;
        let sweep_every = Nanos::from(quota.interval().max(Duration::from_millis(100)));
        let store = Arc::new(BoundedStore::new(capacity, sweep_every, clock));
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
