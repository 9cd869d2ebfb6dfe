//! How far recent failures speak against an endpoint.
//!
//! An endpoint that fails fast looks idle and quick. Without a counter-weight
//! every policy that prefers idle or quick endpoints sends it most of the
//! traffic. Here a moving share of failures becomes a factor on the score: one
//! failure in a while changes nothing, a row of them makes the endpoint
//! practically last, and time forgives so that it is tried again.

use std::time::Duration;

use crate::endpoint::peak_ewma::Fade;

/// Each outcome moves the share by this much.
const GAIN: f64 = 0.2;
/// A share of failures up to here is life.
pub(crate) const TOLERATED: f64 = 0.3;
/// Silence forgives within this time (to 37 %).
const FORGIVES: Fade = Fade::within(Duration::from_secs(30));
/// A share below this is as good as none: further successes are no news.
pub(crate) const NEGLIGIBLE: f64 = 0.001;

/// The share of failures after one more outcome, so many seconds
/// after the last.
pub(crate) fn after(share: f64, failed: bool, passed_seconds: f64) -> f64 {
    let share = faded(share, passed_seconds);
    let target = if failed { 1.0 } else { 0.0 };
    share + (target - share) * GAIN
}

/// The share as time alone leaves it.
pub(crate) fn faded(share: f64, passed_seconds: f64) -> f64 {
    share * FORGIVES.keep(passed_seconds)
}

/// What a share of failures multiplies a score by: 1 up to the tolerated
/// share, 4 at two thirds, growing without much bound towards one.
pub(crate) fn factor(share: f64) -> f64 {
    if share <= TOLERATED {
        return 1.0;
    }
    let badness = (share - TOLERATED) / (1.0 - TOLERATED);
    (1.0 - badness).max(1e-4).powi(-2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_tolerated_and_a_row_of_them_is_not() {
        let mut share = after(0.0, true, 0.0);
        assert!((factor(share) - 1.0).abs() < f64::EPSILON);
        for _ in 0..9 {
            share = after(share, true, 0.0);
        }
        assert!(factor(share) > 30.0);
    }

    #[test]
    fn two_minutes_of_silence_forgive_everything() {
        let share = faded(1.0, 120.0);
        assert!((factor(share) - 1.0).abs() < f64::EPSILON);
    }
}
