//! What every envelope of a cache is stamped with: wall time, generation, schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::envelope::{Envelope, Kind};
use crate::freshness::UnixMillis;

/// Stamps envelopes.
#[derive(Debug)]
pub(crate) struct Stamp {
    clock: Arc<Clock>,
    last: AtomicU64,
    schema: u16,
    tombstone_ttl: Duration,
}

/// Low bits of a generation that are random, so that two processes differ.
const RANDOM_BITS: u32 = 20;

impl Stamp {
    /// Tombstones outlive every load that began before them.
    pub(crate) fn new(clock: Arc<Clock>, schema: u16, longest_load: Duration) -> Self {
        let tombstone_ttl = longest_load
            .saturating_mul(2)
            .saturating_add(Duration::from_secs(5));
        Self {
            clock,
            last: AtomicU64::new(0),
            schema,
            tombstone_ttl,
        }
    }

    pub(crate) fn wall(&self) -> UnixMillis {
        self.clock.wall()
    }

    pub(crate) fn schema(&self) -> u16 {
        self.schema
    }

    /// A generation that this process never gave before, and others hardly ever.
    pub(crate) fn generation(&self) -> u64 {
        let fresh =
            (self.wall().0 << RANDOM_BITS) | (fastrand::u64(..) >> (u64::BITS - RANDOM_BITS));
        // Relaxed: uniqueness comes from the atomic exchange itself; it orders nothing else.
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(fresh.max(last + 1))
            })
            .unwrap_or_default();
        fresh.max(last + 1)
    }

    /// A tombstone and how long it must stay.
    pub(crate) fn tombstone(&self) -> (Bytes, Duration) {
        let envelope = Envelope {
            kind: Kind::Tombstone,
            codec: 0,
            schema: self.schema,
            compressed: false,
            created: self.wall(),
            fresh_until: None,
            generation: self.generation(),
            etag: None,
            payload: &[],
        };
        (
            envelope
                .seal()
                .expect("invariant: an empty envelope is short enough"),
            self.tombstone_ttl,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_only_grow() {
        let stamp = Stamp::new(Arc::new(Clock::start(false)), 0, Duration::ZERO);
        let generations: Vec<u64> = (0..10_000).map(|_| stamp.generation()).collect();
        assert!(generations.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
