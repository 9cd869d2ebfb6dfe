//! A small number with the time it was written, in one atomic word.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A point in time relative to the pool's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    #[inline]
    pub(crate) fn at(since_start: Duration) -> Self {
        let seconds = since_start.as_secs().wrapping_mul(1_000_000_000);
        Self(seconds.wrapping_add(u64::from(since_start.subsec_nanos())))
    }

    /// Nanoseconds since the start; enough for 584 years.
    #[inline]
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds from `earlier` to `self`; none if it is later.
    #[inline]
    pub(crate) fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 * 1e-9
    }

    #[inline]
    pub(crate) fn tick(self) -> Tick {
        // Truncation is the wrap.
        Tick((self.0 >> 16) as u32)
    }
}

/// The same in steps of 2^16 ns (66 µs). Wraps after 78 hours; differences are
/// taken modulo that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(pub(crate) u32);

/// Seconds per tick.
const STEP: f64 = 65_536e-9;

impl Tick {
    /// Seconds from `earlier` to `self`. A little backwards counts as none.
    #[inline]
    pub(crate) fn seconds_since(self, earlier: Self) -> f64 {
        // The wrap turns a little backwards into a negative number.
        let steps = self.0.wrapping_sub(earlier.0) as i32;
        f64::from(steps.max(0)) * STEP
    }
}

/// A positive number and its tick.
#[derive(Debug, Default)]
pub(crate) struct Stamped(AtomicU64);

impl Stamped {
    /// The value and when it was written; `None` before the first.
    #[inline]
    pub(crate) fn get(&self) -> Option<(f64, Tick)> {
        // Relaxed: the word is complete in itself.
        unpack(self.0.load(Ordering::Relaxed))
    }

    /// Replaces an average by what `change` makes of it. When two threads do so
    /// at once one sample of many is lost, which is cheaper than to insist.
    #[inline]
    pub(crate) fn fold(&self, now: Tick, change: impl FnOnce(Option<(f64, Tick)>) -> f64) {
        let new = pack(change(self.get()), now);
        // Relaxed: the word is complete in itself.
        self.0.store(new, Ordering::Relaxed);
    }

    /// Replaces a sum by what `change` makes of it; nothing is lost unless four
    /// other threads were faster.
    pub(crate) fn update(&self, now: Tick, change: impl Fn(Option<(f64, Tick)>) -> f64) {
        // Relaxed: as `fold`.
        let mut old = self.0.load(Ordering::Relaxed);
        for _ in 0..4 {
            let new = pack(change(unpack(old)), now);
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

#[inline]
fn pack(value: f64, tick: Tick) -> u64 {
    let bits = (value as f32).abs().to_bits();
    WRITTEN | (u64::from(bits) << 32) | u64::from(tick.0)
}

#[inline]
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
        cell.fold(Tick(0), |_| 0.0);
        assert_eq!(cell.get(), Some((0.0, Tick(0))));
    }

    #[test]
    fn ticks_survive_their_wrap() {
        let late = Tick(u32::MAX);
        assert!((Tick(1).seconds_since(late) - 2.0 * STEP).abs() < 1e-12);
        assert!(late.seconds_since(Tick(1)) <= 0.0);
    }
}
