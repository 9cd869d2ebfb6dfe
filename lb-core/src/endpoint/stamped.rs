//! A small number with the time it was written, in one atomic word.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A point in time relative to the pool's start, in steps of 2^16 ns (66 µs).
/// Wraps after 78 hours; differences are taken modulo that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    pub(crate) fn at(since_start: Duration) -> Self {
        // Truncation is the wrap.
        Self((since_start.as_nanos() >> 16) as u32)
    }

    /// Time from `earlier` to `self`. A little backwards counts as none.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let steps = self.0.wrapping_sub(earlier.0);
        if steps > u32::MAX / 2 {
            return Duration::ZERO;
        }
        Duration::from_nanos(u64::from(steps) << 16)
    }
}

/// A positive number and its tick. Lost updates are harmless here: each is one
/// sample of many.
#[derive(Debug, Default)]
pub(crate) struct Stamped(AtomicU64);

impl Stamped {
    /// The value and when it was written; `None` before the first.
    #[inline]
    pub(crate) fn get(&self) -> Option<(f64, Tick)> {
        // Relaxed: the word is complete in itself.
        unpack(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the value by what `change` makes of it. Tries again a few
    /// times when another thread was faster, then lets the update go.
    pub(crate) fn update(&self, now: Tick, change: impl Fn(Option<(f64, Tick)>) -> f64) {
        let mut old = self.0.load(Ordering::Relaxed);
        for _ in 0..4 {
            let new = pack(change(unpack(old)), now);
            // Relaxed: the word is complete in itself.
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => old = current,
            }
        }
    }
}

/// Bit 63 is the sign of the number; it is set to mark "written".
const WRITTEN: u64 = 1 << 63;

fn pack(value: f64, tick: Tick) -> u64 {
    let bits = (value as f32).abs().to_bits();
    WRITTEN | (u64::from(bits) << 32) | u64::from(tick.0)
}

fn unpack(word: u64) -> Option<(f64, Tick)> {
    if word & WRITTEN == 0 {
        return None;
    }
    let bits = ((word & !WRITTEN) >> 32) as u32;
    Some((f64::from(f32::from_bits(bits)), Tick(word as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_zero_is_not_the_same_as_nothing() {
        let cell = Stamped::default();
        assert_eq!(cell.get(), None);
        cell.update(Tick(0), |_| 0.0);
        assert_eq!(cell.get(), Some((0.0, Tick(0))));
    }

    #[test]
    fn ticks_survive_their_wrap() {
        let late = Tick(u32::MAX);
        assert_eq!(Tick(1).since(late), Duration::from_nanos(2 << 16));
        assert_eq!(late.since(Tick(1)), Duration::ZERO);
    }
}
