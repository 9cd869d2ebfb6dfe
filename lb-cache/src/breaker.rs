//! When is a failing tier left alone, and when is it tried again?
//!
//! Closed until so many failures in a row; then open for a while, and nobody
//! asks. When the while is over one probe goes out in the background, so that no
//! caller pays for it: if it succeeds the breaker closes, if not the next while
//! is twice as long, up to a limit.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_cache::breaker::{Admission, Breaker, Limits};
//!
//! # fn example(now: Instant) {
//! let limits = Limits { failures: 2, open_for: Duration::from_secs(1), open_at_most: Duration::from_secs(4) };
//! let mut breaker = Breaker::default();
//! breaker.record(&limits, false, now);
//! breaker.record(&limits, false, now);
//! assert_eq!(breaker.admit(now), Admission::Refuse);
//! assert_eq!(breaker.admit(now + Duration::from_secs(1)), Admission::Probe);
//! assert_eq!(breaker.admit(now + Duration::from_secs(1)), Admission::Refuse);
//! # }
//! ```

use std::time::{Duration, Instant};

/// A hundred years. `Duration::MAX` is one way to say "never", and no moment has room for it.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row that open it. Default: 5.
    pub failures: u32,
    /// How long it is open at first. Default: 250 ms.
    pub open_for: Duration,
    /// Each failed probe doubles that, up to here. Default: 500 ms; a probe costs no caller anything.
    pub open_at_most: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: Duration::from_millis(250),
            open_at_most: Duration::from_millis(500),
        }
    }
}

/// The state of one breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breaker {
    /// Calls go through.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// No call goes through.
    Open {
        /// Until then.
        until: Instant,
        /// How long this opening lasts.
        open_for: Duration,
    },
    /// One probe is under way; no other call goes through.
    HalfOpen {
        /// How long the last opening lasted.
        open_for: Duration,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// May a call be made?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Admit,
    /// No.
    Refuse,
    /// No, but send one probe in the background and record how it ended.
    Probe,
}

impl Breaker {
    /// May a call be made now?
    pub fn admit(&mut self, now: Instant) -> Admission {
        match *self {
            Self::Closed { .. } => Admission::Admit,
            Self::Open { until, open_for } if now >= until => {
                *self = Self::HalfOpen { open_for };
                Admission::Probe
            }
            Self::Open { .. } | Self::HalfOpen { .. } => Admission::Refuse,
        }
    }

    /// Remembers how a call ended. `true` if the breaker opened or closed by it.
    pub fn record(&mut self, limits: &Limits, success: bool, now: Instant) -> bool {
        let before = *self;
        *self = match (before, success) {
            (_, true) => Self::default(),
            (Self::Closed { failures }, false) if failures + 1 < limits.failures => Self::Closed {
                failures: failures + 1,
            },
            (Self::Closed { .. }, false) => Self::open(limits.open_for, now),
            (Self::HalfOpen { open_for }, false) => {
                Self::open(open_for.saturating_mul(2).min(limits.open_at_most), now)
            }
            // A call that began before the opening ends now: nothing new.
            (open @ Self::Open { .. }, false) => open,
        };
        matches!(before, Self::Closed { .. }) != matches!(self, Self::Closed { .. })
    }

    /// `closed`, `open` or `half-open`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }

    fn open(open_for: Duration, now: Instant) -> Self {
        Self::Open {
            until: now + open_for.min(FOREVER),
            open_for,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            failures: 2,
            open_for: SECOND,
            open_at_most: 3 * SECOND,
        }
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let (mut breaker, now) = (Breaker::default(), now());
        for _ in 0..10 {
            assert!(!breaker.record(&limits(), false, now));
            assert!(!breaker.record(&limits(), true, now));
        }
        assert_eq!(breaker.admit(now), Admission::Admit);
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_the_limit() {
        let (mut breaker, mut now) = (Breaker::default(), now());
        breaker.record(&limits(), false, now);
        assert!(breaker.record(&limits(), false, now), "it opened");
        for wait in [1, 2, 3, 3] {
            assert_eq!(
                breaker.admit(now + wait * SECOND - Duration::from_millis(1)),
                Admission::Refuse
            );
            now += wait * SECOND;
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert_eq!(breaker.admit(now), Admission::Refuse, "one probe at a time");
            assert!(!breaker.record(&limits(), false, now));
        }
        now += 3 * SECOND;
        assert_eq!(breaker.admit(now), Admission::Probe);
        assert!(breaker.record(&limits(), true, now), "it closed");
        assert_eq!(breaker.admit(now), Admission::Admit);
    }

    #[test]
    fn a_breaker_may_stay_open_for_ever() {
        let never = Limits {
            failures: 1,
            open_for: Duration::MAX,
            open_at_most: Duration::MAX,
        };
        let (mut breaker, now) = (Breaker::default(), now());
        breaker.record(&never, false, now);
        assert_eq!(breaker.admit(now + 1_000_000 * SECOND), Admission::Refuse);
        let mut tried = Breaker::HalfOpen {
            open_for: Duration::MAX,
        };
        tried.record(&never, false, now);
        assert_eq!(tried.admit(now + 1_000_000 * SECOND), Admission::Refuse);
    }

    #[test]
    fn a_late_failure_does_not_lengthen_an_opening() {
        let (mut breaker, now) = (Breaker::default(), now());
        breaker.record(&limits(), false, now);
        breaker.record(&limits(), false, now);
        breaker.record(&limits(), false, now + SECOND / 2);
        assert_eq!(breaker.admit(now + SECOND), Admission::Probe);
    }
}
