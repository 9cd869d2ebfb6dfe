//! How long to wait before the next attempt?
//!
//! Full jitter: a uniformly random share of a ceiling that doubles with every failure, so that a fleet
//! that lost its registry does not come back as one wave (the scheme is described in "Exponential Backoff
//! And Jitter", AWS Architecture Blog, 2015). The random number comes in as an argument.
//!
//! ```
//! use std::time::Duration;
//! use lb_registry::backoff::Backoff;
//!
//! let backoff = Backoff::default();
//! assert_eq!(backoff.delay(0, u64::MAX), Duration::from_millis(200));
//! assert_eq!(backoff.delay(60, u64::MAX), Duration::from_secs(30));
//! ```

use std::time::Duration;

/// Exponential back-off with full jitter. Default: 200 ms doubling up to 30 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first delay.
    pub first: Duration,
    /// Ceiling of every delay.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            most: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The delay after `failures` failures in a row, where 0 means the first one. `random` is any
    /// uniformly distributed number.
    #[must_use]
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX));
        scale(doubled.min(self.most), random)
    }
}

/// `whole` times a share of one that `random` chooses.
fn scale(whole: Duration, random: u64) -> Duration {
    whole.mul_f64(random as f64 / u64::MAX as f64)
}

/// `whole` changed by at most `share` of itself in either direction: `0.1` is plus or minus ten per cent.
#[must_use]
pub fn jitter(whole: Duration, share: f64, random: u64) -> Duration {
    let share = share.clamp(0.0, 1.0);
    whole.mul_f64(1.0 - share) + scale(whole.mul_f64(2.0 * share), random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// No delay passes the ceiling, whatever the count and the random number.
        #[test]
        fn a_delay_never_passes_its_ceiling(failures in any::<u32>(), random in any::<u64>()) {
            prop_assert!(Backoff::default().delay(failures, random) <= Duration::from_secs(30));
        }

        /// Jitter stays within its band.
        #[test]
        fn jitter_stays_within_its_band(random in any::<u64>()) {
            let delay = jitter(Duration::from_secs(10), 0.1, random);
            prop_assert!(delay >= Duration::from_millis(8_999) && delay <= Duration::from_millis(11_001));
        }
    }
}
