//! What a lower tier said about a key, and what shall be written to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::envelope::generation_bytes;
use crate::freshness::UnixMillis;

/// What a tier said about a key.
pub(crate) enum Answer<V> {
    /// Nothing: it was not asked, or did not answer.
    Silent,
    /// It holds no value, but this generation.
    Miss(Generation),
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
    /// When its tier was asked for it.
    pub(crate) asked: UnixMillis,
    pub(crate) generation: Generation,
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
    /// A shorter life than the policy's. Zero: it is not to be kept.
    pub(crate) cap: Option<Duration>,
    /// When somebody began to find it out, by this process's wall clock: after a clear that
    /// came later nobody believes it, not even if it is written last.
    pub(crate) began: UnixMillis,
    /// When it was known: from then on it lives.
    pub(crate) made: UnixMillis,
}

impl<V> Write<V> {
    /// `false` if it shall serve those who wait for it now, and nobody else.
    pub(crate) fn is_lasting(&self) -> bool {
        self.cap.is_none_or(|cap| !cap.is_zero())
    }
}

/// What a tier that was found wanting holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanting {
    pub(crate) generation: Generation,
    /// A value, which this or another process may still serve.
    pub(crate) is_value: bool,
}

/// The generation that a tier held when it was asked; empty if it held nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Generation {
    bytes: [u8; 8],
    len: usize,
}

impl Generation {
    /// What stands at its place in these bytes, envelope or not.
    pub(crate) fn of(stored: &[u8]) -> Self {
        let held = generation_bytes(stored);
        let mut bytes = [0; 8];
        bytes[..held.len()].copy_from_slice(held);
        Self {
            bytes,
            len: held.len(),
        }
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes[..self.len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_what_stands_at_its_place() {
        let stored: Vec<u8> = (0..40).collect();
        for length in [0, 24, 27, 40] {
            let stored = &stored[..length];
            assert_eq!(Generation::of(stored).to_bytes(), generation_bytes(stored));
        }
    }
}
