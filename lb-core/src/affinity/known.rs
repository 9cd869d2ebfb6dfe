//! What was worked out before: a few slots, found by hash.
//!
//! A client sends its token with every request, and everybody who is bound to an
//! endpoint in one minute gets the same token. To open or seal one takes several
//! rounds of SHA-256; to find it here takes one short hash. The hash is seeded, so
//! that nobody can aim at a slot; what falls into an occupied one replaces it.
//!
//! A wrong token is never found: all its bytes are compared, after a hash of all of
//! them that a guesser cannot foresee, so a near miss takes no longer than any other.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Longer keys are worked out each time.
const LONGEST: usize = 256;

/// A fixed number of remembered results, by the bytes they were made from.
pub(super) struct Known<V> {
    /// No two have the same.
    number: u64,
    seed: u64,
    slots: Box<[Mutex<Option<Entry<V>>>]>,
}

/// One result.
pub(super) struct Entry<V> {
    hash: u64,
    key: Box<[u8]>,
    value: V,
}

/// Bytes, and where a result of them is kept.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    bytes: &'a [u8],
    pub(super) hash: u64,
}

impl<V> Entry<V> {
    pub(super) fn new(key: Key<'_>, value: V) -> Self {
        Self {
            hash: key.hash,
            key: key.bytes.into(),
            value,
        }
    }

    /// The result, if it is that of `key`.
    #[inline]
    pub(super) fn get(&self, key: Key<'_>) -> Option<&V> {
        // Equal hashes first: how long a comparison takes then tells a guesser nothing.
        (self.hash == key.hash && *self.key == *key.bytes).then_some(&self.value)
    }
}

impl<V: Clone> Known<V> {
    /// `slots` is how many results are kept.
    pub(super) fn new(slots: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            // Relaxed: only that the numbers differ matters.
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            seed: fastrand::u64(..),
            slots: (0..slots).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Tells its results from those of others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// `None` for bytes that are too many to be remembered.
    #[inline]
    pub(super) fn key<'a>(&self, bytes: &'a [u8]) -> Option<Key<'a>> {
        let hash = || xxh3_64_with_seed(bytes, self.seed);
        (bytes.len() <= LONGEST).then(|| Key {
            bytes,
            hash: hash(),
        })
    }

    /// What was worked out from `key` last.
    pub(super) fn get(&self, key: Key<'_>) -> Option<V> {
        self.slot(key)?.as_ref()?.get(key).cloned()
    }

    /// Remembers what was worked out from `key`.
    pub(super) fn put(&self, key: Key<'_>, value: V) {
        if let Some(mut slot) = self.slot(key) {
            *slot = Some(Entry::new(key, value));
        }
    }

    fn slot(&self, key: Key<'_>) -> Option<MutexGuard<'_, Option<Entry<V>>>> {
        let slot = self
            .slots
            .get(key.hash as usize % self.slots.len().max(1))?;
        // A panic elsewhere leaves a slot whole: an entry is replaced in one step.
        Some(slot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<V> fmt::Debug for Known<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots", self.slots.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is found is what was put there last for exactly these bytes.
        #[test]
        fn a_result_is_never_that_of_other_bytes(
            keys in prop::collection::vec("[ab]{0,3}|c{255,258}", 1..60),
        ) {
            let known = Known::new(4);
            for (at, key) in keys.iter().enumerate() {
                let Some(bytes) = known.key(key.as_bytes()) else {
                    prop_assert!(key.len() > LONGEST);
                    continue;
                };
                if let Some(found) = known.get(bytes) {
                    let last = keys[..at].iter().rposition(|other| other == key);
                    prop_assert_eq!(Some(found), last);
                }
                known.put(bytes, at);
                prop_assert_eq!(known.get(bytes), Some(at));
            }
        }
    }
}
