//! The tiers below, as the read and write paths see them: typed values instead of bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::codec::Codec;
use crate::envelope::{Envelope, Kind, generation_bytes};
use crate::freshness::Terms;
use crate::level::{Level, Role};
use crate::pack;
use crate::policy::Policy;
use crate::stamp::Stamp;
use crate::tier::TierError;
use crate::wire;

pub(crate) struct Below<K, V> {
    /// Turns a key into its wire form; a cache without lower tiers takes any key.
    pub(crate) to_wire: fn(&K) -> Vec<u8>,
    pub(crate) codec: Arc<dyn Codec<V>>,
    pub(crate) prefix: Vec<u8>,
    /// From the fastest to the slowest.
    pub(crate) levels: Vec<Arc<Level>>,
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
    /// Counts burials: an insert that waited through one comes too late.
    burials: AtomicU64,
}

impl Turns {
    pub(crate) fn burials(&self) -> u64 {
        // Relaxed: read again under `turn`, which orders it.
        self.burials.load(Ordering::Relaxed)
    }

    pub(crate) fn count_burial(&self) {
        // Relaxed: see `burials`.
        self.burials.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) const WRITER_STRIPES: usize = 256;
pub(crate) const CONCURRENT_FILLS: usize = 256;

/// What a tier said about a key.
pub(crate) enum Answer<V> {
    /// Nothing: it was not asked, or did not answer.
    Silent,
    /// It holds no value, but these generation bytes.
    Miss(Bytes),
    /// It holds this value, or the knowledge that there is none.
    Held(Held<V>),
}

/// A value out of a lower tier.
#[derive(Debug)]
pub(crate) struct Held<V> {
    pub(crate) value: Option<Arc<V>>,
    pub(crate) etag: Option<Arc<str>>,
    /// How long it stays fresh; zero if it is stale, `None` if it stays so for ever.
    pub(crate) remaining: Option<Duration>,
    /// Past the share of its life at which somebody should renew it.
    pub(crate) ageing: bool,
    pub(crate) generation: Bytes,
}

impl<V> Held<V> {
    pub(crate) fn is_fresh(&self) -> bool {
        self.remaining.is_none_or(|remaining| !remaining.is_zero())
    }
}

/// What shall be written: `value` of `None` says that there is none.
pub(crate) struct Write<V> {
    pub(crate) value: Option<Arc<V>>,
    pub(crate) etag: Option<Arc<str>>,
    /// A shorter life than the policy's.
    pub(crate) cap: Option<Duration>,
}

impl<K, V: 'static> Below<K, V> {
    /// The wire key; `None` if the key is too long for lower tiers.
    pub(crate) fn key(&self, key: &K) -> Option<Bytes> {
        wire::key(&self.prefix, &(self.to_wire)(key))
    }

    /// Asks one tier for one key.
    pub(crate) async fn ask(&self, level: &Arc<Level>, key: &Bytes) -> Answer<V> {
        let answer = level.get(key).await;
        self.read(level, answer)
    }

    /// Reads what a tier answered, and counts it.
    pub(crate) fn read(
        &self,
        level: &Level,
        answer: Result<Option<Bytes>, TierError>,
    ) -> Answer<V> {
        let stored = match answer {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                level.counters.misses.add(1);
                return Answer::Miss(Bytes::new());
            }
            Err(TierError::NotAValue) => {
                level.counters.corrupt.add(1);
                return Answer::Miss(Bytes::new());
            }
            Err(_) => return Answer::Silent,
        };
        let generation = Bytes::copy_from_slice(generation_bytes(&stored));
        match self.open(level, &stored, generation.clone()) {
            Ok(Some(held)) => {
                let counter = if held.is_fresh() {
                    &level.counters.hits
                } else {
                    &level.counters.stale_hits
                };
                counter.add(1);
                Answer::Held(held)
            }
            Ok(None) => {
                level.counters.misses.add(1);
                Answer::Miss(generation)
            }
            Err(()) => {
                level.counters.corrupt.add(1);
                Answer::Miss(generation)
            }
        }
    }

    /// `Ok(None)` for tombstones and what is not trusted, `Err` for what does not decode.
    fn open(
        &self,
        level: &Level,
        stored: &Bytes,
        generation: Bytes,
    ) -> Result<Option<Held<V>>, ()> {
        if stored.len() > self.max_value_bytes {
            return Err(());
        }
        let envelope = Envelope::open(stored).map_err(drop)?;
        if envelope.schema != self.stamp.schema() {
            return Err(());
        }
        if envelope.kind == Kind::Tombstone || !level.trusts_since(envelope.created) {
            return Ok(None);
        }
        let value = match envelope.kind {
            Kind::Value => Some(Arc::new(self.decode(&envelope)?)),
            _ => None,
        };
        let (remaining, ageing) = self.rest_of_life(&envelope, level.ttl);
        Ok(Some(Held {
            value,
            etag: envelope.etag.map(Arc::from),
            remaining,
            ageing,
            generation,
        }))
    }

    fn decode(&self, envelope: &Envelope<'_>) -> Result<V, ()> {
        if envelope.codec != self.codec.id() {
            return Err(());
        }
        let payload =
            pack::unpack(envelope.payload, envelope.compressed, self.max_value_bytes).ok_or(())?;
        self.codec.decode(&payload).map_err(drop)
    }

    /// Never longer than the policy allows, whatever the writer's clock said.
    fn rest_of_life(
        &self,
        envelope: &Envelope<'_>,
        ttl: Option<Duration>,
    ) -> (Option<Duration>, bool) {
        let now = self.stamp.wall();
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
        let (payload, compressed) = pack::pack(encoded, self.compress_above);
        let created = self.stamp.wall();
        let sealed = Envelope {
            kind: if write.value.is_some() {
                Kind::Value
            } else {
                Kind::Absent
            },
            codec: self.codec.id(),
            schema: self.stamp.schema(),
            compressed,
            created,
            fresh_until: life.map(|life| created.after(life)),
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

    /// Fills a tier after a load; at most so many at once.
    pub(crate) async fn fill(
        &self,
        policy: &Policy,
        level: &Arc<Level>,
        key: &Bytes,
        write: &Write<V>,
        seen: Bytes,
    ) {
        let Ok(_permit) = self.fills.try_acquire() else {
            return level.counters.skipped.add(1);
        };
        if let Some((sealed, ttl)) = self.seal(policy, level, write) {
            level.fill(key, sealed, ttl, seen).await;
        }
    }

    pub(crate) fn turns(&self, hash: u64) -> &Turns {
        &self.writers[hash as usize % self.writers.len()]
    }

    /// Every turn at once, after the writers that have one now; inserts that wait come too late.
    pub(crate) async fn all_turns(&self) -> Vec<MutexGuard<'_, ()>> {
        let mut turns = Vec::with_capacity(self.writers.len());
        for writers in &self.writers {
            writers.count_burial();
            turns.push(writers.turn.lock().await);
        }
        turns
    }

    pub(crate) fn level(&self, role: Role) -> Option<&Arc<Level>> {
        self.levels.iter().find(|level| level.role == role)
    }
}
