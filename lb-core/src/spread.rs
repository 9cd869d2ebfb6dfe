//! Maps by address: whatever keeps the address valid is part of the value.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// By where something lies in memory. No text is hashed, and no client chooses
/// an address: a hash against attacks would cost ten times as much.
pub(crate) type ByAddress<V> = HashMap<usize, V, BuildHasherDefault<Spread>>;

/// One multiplication spreads an address over all bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        // 2^64 divided by the golden ratio (Knuth, volume 3, 6.4).
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
