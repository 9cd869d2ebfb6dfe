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
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Longer keys are worked out each time.
const LONGEST: usize = 256;

/// A fixed number of remembered results, by the bytes they were made from.
pub(super) struct Known<V> {
    seed: u64,
    slots: Box<[Mutex<Option<Entry<V>>>]>,
}

struct Entry<V> {
    hash: u64,
    key: Box<[u8]>,
    value: V,
}

impl<V: Clone> Known<V> {
    /// `slots` is how many results are kept.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            seed: fastrand::u64(..),
            slots: (0..slots).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// What was worked out from `key` last.
    pub(super) fn get(&self, key: &[u8]) -> Option<V> {
        let (hash, slot) = self.slot(key)?;
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = slot.as_ref()?;
        // Equal hashes first: how long a comparison takes then tells a guesser nothing.
        (entry.hash == hash && *entry.key == *key).then(|| entry.value.clone())
    }

    /// Remembers what was worked out from `key`.
    pub(super) fn put(&self, key: &[u8], value: V) {
        if let Some((hash, slot)) = self.slot(key) {
            let entry = Entry {
                hash,
                key: key.into(),
                value,
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        }
    }

    // A panic elsewhere leaves a slot whole: an entry is replaced in one step.
    fn slot(&self, key: &[u8]) -> Option<(u64, &Mutex<Option<Entry<V>>>)> {
        if key.len() > LONGEST {
            return None;
        }
        let hash = xxh3_64_with_seed(key, self.seed);
        let slot = self.slots.get(hash as usize % self.slots.len().max(1))?;
        Some((hash, slot))
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
                if let Some(found) = known.get(key.as_bytes()) {
                    let last = keys[..at].iter().rposition(|other| other == key);
                    prop_assert_eq!(Some(found), last);
                }
                known.put(key.as_bytes(), at);
                let kept = key.len() <= LONGEST;
                prop_assert_eq!(known.get(key.as_bytes()), kept.then_some(at));
            }
        }
    }
}
