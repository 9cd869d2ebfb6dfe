//! Samples by the name of their pod, for samples that come in another order than the pods.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use crate::UnixMillis;
use crate::inputs::PodSample;

/// Samples that no pod has claimed. Of several samples of one pod the last counts.
pub(super) struct ByName<'a>(HashMap<&'a str, &'a PodSample, Seed>);

/// Hashes for one decision.
struct Seed(u64);

/// Folded multiplication of eight bytes at a time: a fifth of the standard hash for names
/// of 26 bytes. Who can name pods at will, and knows the millisecond, can make a decision slow, not wrong.
struct Fold(u64);

// === impl ByName ===

impl<'a> ByName<'a> {
    pub(super) fn new(samples: &'a [PodSample], now: UnixMillis) -> Self {
        let seed = Seed(now.millis().cast_unsigned());
        let mut map = HashMap::with_capacity_and_hasher(samples.len(), seed);
        map.extend(samples.iter().map(|sample| (&*sample.pod, sample)));
        Self(map)
    }

    pub(super) fn claim(&mut self, pod: &str) -> Option<&'a PodSample> {
        self.0.remove(pod)
    }

    pub(super) fn into_rest(self) -> impl Iterator<Item = &'a PodSample> {
        self.0.into_values()
    }
}

// === impl Seed ===

impl BuildHasher for Seed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold(self.0)
    }
}

// === impl Fold ===

impl Fold {
    fn word(&mut self, word: [u8; 8]) {
        // Bits of the golden ratio, as Fibonacci hashing takes them (Knuth, TAOCP 3, 6.4).
        let mixed = self.0 ^ u64::from_le_bytes(word) ^ 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(mixed) * 0xf39c_c060_5ced_c835;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.word(*word));
        // The last eight bytes hold the rest, and some bytes once more.
        let last = bytes.last_chunk().copied().unwrap_or_else(|| {
            let mut short = [0; 8];
            short[..rest.len()].copy_from_slice(rest);
            short
        });
        self.word(last);
    }

    /// The end of a text: names are hashed alone, so it separates nothing.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
