//! The tiers below, as the read and write paths see them: typed values instead of bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::ask::Queues;
use super::held::{Answer, Generation, Held, Wanting, Write};
use crate::codec::Codec;
use crate::envelope::{Envelope, Kind};
use crate::freshness::{Terms, UnixMillis};
use crate::level::{Level, Role};
use crate::pack;
use crate::policy::Policy;
use crate::stamp::Stamp;
use crate::tier::{self, TierError};
use crate::wire;

pub(crate) struct Below<K, V> {
    /// Appends the wire form of a key; a cache without lower tiers takes any key.
    pub(crate) append_wire: fn(&K, &mut Vec<u8>),
    pub(crate) codec: Arc<dyn Codec<V>>,
    pub(crate) prefix: Vec<u8>,
    /// From the fastest to the slowest.
    pub(crate) levels: Vec<Arc<Level>>,
    /// What waits to be asked of each level.
    pub(crate) queues: Vec<Queues<K, V>>,
    pub(crate) stamp: Arc<Stamp>,
    pub(crate) writers: Box<[Turns]>,
    /// So many fills run at once; more are not done at all.
    pub(crate) fills: Arc<Semaphore>,
    pub(crate) max_value_bytes: usize,
    pub(crate) compress_above: Option<usize>,
    pub(crate) refresh_at: f64,
}

/// Writers of one key take turns; one of these serves many keys.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pub(crate) turn: Mutex<()>,
    /// Inserts that wait for their turn, or have it.
    inserts: std::sync::Mutex<Vec<Weak<Insert>>>,
}

/// An insert on its way. One that waited through a burial of its key comes too late.
#[derive(Debug)]
pub(crate) struct Insert {
    /// Of its key, by which the board knows it.
    pub(crate) hash: u64,
    overtaken: AtomicBool,
}

impl Insert {
    pub(crate) fn is_overtaken(&self) -> bool {
        // Relaxed: read under `Turns::turn`, which orders it.
        self.overtaken.load(Ordering::Relaxed)
    }
}

impl Turns {
    /// From now on a burial of its key overtakes this insert, until it is dropped.
    pub(crate) fn announce(&self, hash: u64) -> Arc<Insert> {
        let insert = Arc::new(Insert {
            hash,
            overtaken: AtomicBool::new(false),
        });
        let mut inserts = self.inserts();
        inserts.retain(|known| known.strong_count() > 0);
        inserts.push(Arc::downgrade(&insert));
        insert
    }

    /// A burial overtakes the inserts of the key with this hash, or of all keys.
    pub(crate) fn overtake(&self, hash: Option<u64>) {
        for insert in self.inserts().iter().filter_map(Weak::upgrade) {
            if hash.is_none_or(|hash| hash == insert.hash) {
                // Relaxed: see `Insert::is_overtaken`.
                insert.overtaken.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A panic while the lock was held leaves the list whole.
    fn inserts(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Insert>>> {
        self.inserts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read once for all answers of a batch.
pub(crate) struct Glance {
    pub(crate) wall: UnixMillis,
    /// When the question left.
    pub(crate) asked: UnixMillis,
    pub(crate) distrusted_until: Option<UnixMillis>,
}

pub(crate) const WRITER_STRIPES: usize = 256;
pub(crate) const CONCURRENT_FILLS: usize = 256;

impl<K, V: 'static> Below<K, V> {
    /// The wire key; `None` if the key is too long for lower tiers.
    pub(crate) fn key(&self, key: &K) -> Option<Bytes> {
        wire::key(&self.prefix, |wire| (self.append_wire)(key, wire))
    }

    /// Reads what a tier answered, and counts it.
    pub(crate) fn read(&self, level: &Level, answer: tier::Answer, at: &Glance) -> Answer<V> {
        let counters = &level.counters;
        let stored = match answer {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                counters.misses.add(1);
                return Answer::Miss(Generation::default());
            }
            Err(TierError::NotAValue) => {
                counters.corrupt.add(1);
                return Answer::Miss(Generation::default());
            }
            Err(_) => return Answer::Silent,
        };
        match self.open(level, &stored, at) {
            Ok(Some(held)) => {
                let counter = if held.is_fresh() {
                    &counters.hits
                } else {
                    &counters.stale_hits
                };
                counter.add(1);
                Answer::Held(held)
            }
            Ok(None) => {
                counters.misses.add(1);
                Answer::Miss(Generation::of(&stored))
            }
            Err(()) => {
                counters.corrupt.add(1);
                Answer::Miss(Generation::of(&stored))
            }
        }
    }

    /// `Ok(None)` for tombstones and what is not trusted, `Err` for what does not decode.
    fn open(&self, level: &Level, stored: &Bytes, at: &Glance) -> Result<Option<Held<V>>, ()> {
        if stored.len() > self.max_value_bytes {
            return Err(());
        }
        let envelope = Envelope::open(stored).map_err(drop)?;
        if envelope.schema != self.stamp.schema() {
            return Err(());
        }
        let distrusted = at
            .distrusted_until
            .is_some_and(|until| envelope.created <= until);
        if envelope.kind == Kind::Tombstone || distrusted {
            return Ok(None);
        }
        let value = match envelope.kind {
            Kind::Value => Some(Arc::new(self.decode(&envelope)?)),
            _ => None,
        };
        let (remaining, ageing) = self.rest_of_life(&envelope, level.ttl, at.wall);
        Ok(Some(Held {
            value,
            etag: envelope.etag.map(Arc::from),
            remaining,
            ageing,
            asked: at.asked,
            generation: Generation::of(stored),
        }))
    }

    fn decode(&self, envelope: &Envelope<'_>) -> Result<V, ()> {
        if envelope.codec != self.codec.id() {
            return Err(());
        }
        let payload =
            pack::unpack(envelope.payload, envelope.compressed, self.max_value_bytes).ok_or(())?;
        // A decoder that panics must not take the other keys of its batch along.
        let decode = AssertUnwindSafe(|| self.codec.decode(&payload));
        catch_unwind(decode).map_err(drop)?.map_err(drop)
    }

    /// Never longer than the policy allows, whatever the writer's clock said.
    fn rest_of_life(
        &self,
        envelope: &Envelope<'_>,
        ttl: Option<Duration>,
        now: UnixMillis,
    ) -> (Option<Duration>, bool) {
        let Some(until) = envelope.fresh_until else {
            return (ttl, false);
        };
        let remaining = now.until(until);
        let whole = envelope.created.until(until);
        let ageing = remaining < whole.mul_f64(1.0 - self.refresh_at);
        (
            Some(ttl.map_or(remaining, |ttl| remaining.min(ttl))),
            ageing,
        )
    }

    /// The bytes of a write for one tier and how long the tier shall hold them;
    /// `None` if there are none: too large, not encodable, or not to be kept.
    pub(crate) fn seal(
        &self,
        policy: &Policy,
        level: &Level,
        write: &Write<V>,
    ) -> Option<(Bytes, Option<Duration>)> {
        let terms = match write.value {
            Some(_) => policy.terms(level.ttl),
            None => Terms {
                stale_for: Duration::ZERO,
                ..policy.terms(Some(policy.negative?.ttl))
            },
        };
        let life = terms.span(write.cap, fastrand::u64(..));
        if life.is_some_and(|life| life.is_zero()) {
            return None;
        }
        let encoded = match &write.value {
            Some(value) => self
                .codec
                .encode(value)
                .inspect_err(|error| tracing::warn!(%error, "not encodable"))
                .ok()?,
            None => Vec::new(),
        };
        // However well it compresses: a reader would have to unpack it.
        if encoded.len() > self.max_value_bytes {
            return None;
        }
        let (payload, compressed) = pack::pack(encoded, self.compress_above);
        let sealed = Envelope {
            kind: if write.value.is_some() {
                Kind::Value
            } else {
                Kind::Absent
            },
            codec: self.codec.id(),
            schema: self.stamp.schema(),
            compressed,
            created: write.began,
            fresh_until: life.map(|life| write.made.after(life)),
            generation: self.stamp.generation(),
            etag: write.etag.as_deref(),
            payload: &payload,
        }
        .seal()
        .filter(|sealed| sealed.len() <= self.max_value_bytes)?;
        Some((
            sealed,
            life.map(|life| life.saturating_add(terms.stale_for)),
        ))
    }

    /// Fills a tier after a load; at most so many at once. What a clear has overtaken
    /// is not written. If there is nothing to write, an older value must not stay.
    pub(crate) async fn fill(
        &self,
        policy: &Policy,
        level: &Arc<Level>,
        key: &Bytes,
        write: &Write<V>,
        seen: Wanting,
    ) {
        let overtaken = level
            .distrusted_until()
            .is_some_and(|until| write.began <= until);
        if overtaken {
            return level.counters.refused_writes.add(1);
        }
        let Ok(_permit) = self.fills.try_acquire() else {
            return level.counters.skipped.add(1);
        };
        let generation = seen.generation.to_bytes();
        match self.seal(policy, level, write) {
            Some((sealed, ttl)) => level.fill(key, sealed, ttl, generation).await,
            None if seen.is_value => level.bury_unchanged(key, generation).await,
            None => {}
        }
    }

    pub(crate) fn turns(&self, hash: u64) -> &Turns {
        &self.writers[hash as usize % self.writers.len()]
    }

    /// Every turn at once, after the writers that have one now; inserts that wait come too late.
    pub(crate) async fn all_turns(&self) -> Vec<MutexGuard<'_, ()>> {
        let mut turns = Vec::with_capacity(self.writers.len());
        for writers in &self.writers {
            writers.overtake(None);
            turns.push(writers.turn.lock().await);
        }
        turns
    }

    pub(crate) fn level(&self, role: Role) -> Option<&Arc<Level>> {
        self.levels.iter().find(|level| level.role == role)
    }
}
