//! How long to wait before the driver is opened again.

use std::time::Duration;

/// Exponential back-off with jitter: `base`, twice that, four times, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// The wait after failure number `attempt` (from 0). `random` in `0.0..1.0`
    /// shortens it by up to a quarter, so that a fleet does not retry in step.
    pub(crate) fn delay(&self, attempt: u32, random: f64) -> Duration {
        let factor = 1u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let full = self.base.saturating_mul(factor).min(self.max);
        full - full.mul_f64(0.25 * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        base: Duration::from_secs(1),
        max: Duration::from_secs(60),
    };

    #[test]
    fn doubles_up_to_the_maximum() {
        let waits: Vec<_> = (0..8).map(|n| BACKOFF.delay(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(BACKOFF.delay(4_000_000, 0.0).as_secs(), 60);
    }

    #[test]
    fn a_wait_without_end_is_a_wait_like_any_other() {
        let (base, max) = (Duration::MAX, Duration::MAX);
        assert_eq!(Backoff { base, max }.delay(0, 0.0), Duration::MAX);
        assert!(Backoff { base, max }.delay(9, 1.0) > Duration::MAX / 2);
    }

    #[test]
    fn jitter_only_ever_shortens() {
        assert_eq!(BACKOFF.delay(2, 1.0), Duration::from_secs(3));
    }
}
