//! Peak exponentially weighted moving average of response times.
//!
//! Rises at once, sinks slowly: a slow answer counts immediately, a fast one
//! has to be confirmed by time. As in Finagle and tower; here it is a value
//! without a clock or a lock.

use std::time::{Duration, Instant};

/// A peak-sensitive moving average. Unknown until the first sample.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lb_core::endpoint::PeakEwma;
///
/// let start = Instant::now();
/// let ms = Duration::from_millis;
/// let mut ewma = PeakEwma::new(ms(10_000));
/// ewma.observe(ms(100), start);
/// ewma.observe(ms(300), start + ms(1)); // a peak is believed at once
/// assert_eq!(ewma.estimate(), Some(ms(300)));
/// ewma.observe(ms(100), start + ms(2)); // one fast answer is not
/// assert!(ewma.estimate() > Some(ms(299)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakEwma {
    decay: Duration,
    state: Option<(f64, Instant)>,
}

impl PeakEwma {
    /// An average whose memory fades to 37 % within `decay`. A `decay` of zero
    /// believes the last sample alone.
    #[must_use]
    pub fn new(decay: Duration) -> Self {
        Self { decay, state: None }
    }

    /// Adds one response time, seen at `now`. Time that runs backwards counts
    /// as no time at all.
    pub fn observe(&mut self, sample: Duration, now: Instant) {
        let sample = sample.as_secs_f64();
        self.state = Some(match self.state {
            None => (sample, now),
            Some((estimate, at)) => {
                let passed = now.saturating_duration_since(at);
                (mix(estimate, sample, self.keep(passed)), now.max(at))
            }
        });
    }

    /// Lets time pass: without samples the estimate decays towards zero, so
    /// that an endpoint once slow is tried again.
    pub fn fade(&mut self, now: Instant) {
        if let Some((estimate, at)) = self.state {
            let passed = now.saturating_duration_since(at);
            self.state = Some((estimate * self.keep(passed), now.max(at)));
        }
    }

    fn keep(&self, passed: Duration) -> f64 {
        Fade::within(self.decay).keep(passed.as_secs_f64())
    }

    /// The estimate as of the last change; `None` before the first sample.
    #[must_use]
    pub fn estimate(&self) -> Option<Duration> {
        // Beyond the longest time there is no longer one.
        let duration = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.estimate_seconds().map(duration)
    }

    /// The same in seconds, with the fractions of a nanosecond that a long silence leaves.
    #[must_use]
    pub fn estimate_seconds(&self) -> Option<f64> {
        self.state.map(|(estimate, _)| estimate)
    }
}

/// One sample folded into an estimate of which `keep` is kept.
#[inline]
pub(crate) fn mix(estimate: f64, sample: f64, keep: f64) -> f64 {
    if sample > estimate {
        return sample;
    }
    estimate * keep + sample * (1.0 - keep)
}

/// How fast something is forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fade {
    per_second: f64,
}

impl Fade {
    /// To 37 % within `decay`; at once if that is zero.
    pub(crate) const fn within(decay: Duration) -> Self {
        Self {
            per_second: 1.0 / decay.as_secs_f64(),
        }
    }

    /// The share of an old value that so many seconds leave: e^(-passed / decay).
    #[inline]
    pub(crate) fn keep(self, passed_seconds: f64) -> f64 {
        let x = passed_seconds * self.per_second;
        if x < 0.01 {
            // The series is exact to 2e-7 here, and much cheaper.
            1.0 - x + 0.5 * x * x
        } else if x < 700.0 {
            (-x).exp()
        } else {
            // Also when nothing is kept at all (not a number: zero by zero).
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_longest_answer_nor_the_longest_silence_is_too_much() {
        let now = crate::clock::now();
        let mut ewma = PeakEwma::new(Duration::from_secs(1));
        ewma.observe(Duration::MAX, now);
        assert_eq!(ewma.estimate(), Some(Duration::MAX));
        ewma.fade(now + Duration::from_secs(100));
        assert_eq!(ewma.estimate(), Some(Duration::ZERO));
        let left = ewma.estimate_seconds().expect("known");
        assert!((0.0..1e-9).contains(&left) && left > 0.0, "{left}");
    }
}
