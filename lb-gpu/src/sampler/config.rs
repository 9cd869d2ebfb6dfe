//! Settings of a sampler, checked once.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::health::HealthPolicy;
use crate::tracker::TrackerConfig;

/// How often to look, and how to judge what was seen.
#[derive(Clone, Debug)]
pub struct SamplerConfig {
    pub(super) period: Duration,
    pub(super) backoff: Backoff,
    pub(super) tracker: TrackerConfig,
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A duration or count is zero.
    #[error("{what} must not be zero")]
    Zero {
        /// Which one.
        what: &'static str,
    },
    /// The sampling period is too short for a driver.
    #[error("a sampling period of {period:?} is under the minimum of 100 ms")]
    PeriodTooShort {
        /// What was asked for.
        period: Duration,
    },
}

/// Collects the settings of a sampler.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct SamplerBuilder {
    period: Duration,
    backoff: Backoff,
    tracker: TrackerConfig,
    unknown_after: Option<Duration>,
}

// === impl SamplerConfig ===

impl SamplerConfig {
    /// Starts from the defaults named at each setter.
    pub fn builder() -> SamplerBuilder {
        SamplerBuilder {
            period: Duration::from_millis(500),
            backoff: Backoff {
                base: Duration::from_secs(1),
                max: Duration::from_secs(60),
            },
            tracker: TrackerConfig::default(),
            unknown_after: None,
        }
    }
}

impl Default for SamplerConfig {
    fn default() -> Self {
        let SamplerBuilder {
            period,
            backoff,
            tracker,
            ..
        } = Self::builder();
        Self {
            period,
            backoff,
            tracker,
        }
    }
}

// === impl SamplerBuilder ===

impl SamplerBuilder {
    /// Pause between two looks; at least 100 ms. A snapshot turns stale after
    /// three of them. Default: 500 ms.
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self.tracker.stale_after = period.saturating_mul(3);
        self
    }

    /// Wait before a broken driver is opened again, doubling from `base` up to
    /// `max`. Default: 1 s to 60 s.
    pub fn reopen(mut self, base: Duration, max: Duration) -> Self {
        self.backoff = Backoff { base, max };
        self
    }

    /// Time constant of the load that is used for routing. Default: 5 s.
    pub fn routing_tau(mut self, tau: Duration) -> Self {
        self.tracker.routing_tau = tau;
        self
    }

    /// Time constant of the load that is used for scaling. Default: 30 s.
    pub fn scaling_tau(mut self, tau: Duration) -> Self {
        self.tracker.scaling_tau = tau;
        self
    }

    /// Age at which numbers mean nothing any more, be they as new as can be expected or not.
    /// Default: 15 s, or four periods if that is longer.
    pub fn unknown_after(mut self, age: Duration) -> Self {
        self.unknown_after = Some(age);
        self
    }

    /// How long a missing device stays visible; while none is left, the last ones
    /// stay for good. Default: 10 min.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.tracker.retention = retention;
        self
    }

    /// Which signs lead to which health verdict. Its longest silence is at least three
    /// periods.
    pub fn health(mut self, policy: HealthPolicy) -> Self {
        self.tracker.health = policy;
        self
    }

    /// # Errors
    ///
    /// [`ConfigError`] if a duration is zero or the period is under 100 ms.
    pub fn build(mut self) -> Result<SamplerConfig, ConfigError> {
        let rarely = self.period.saturating_mul(4);
        let unless_said = self.tracker.unknown_after.max(rarely);
        self.tracker.unknown_after = self.unknown_after.unwrap_or(unless_said);
        if self.period < Duration::from_millis(100) {
            return Err(ConfigError::PeriodTooShort {
                period: self.period,
            });
        }
        for (what, value) in [
            ("reopen base", self.backoff.base),
            ("reopen max", self.backoff.max),
            ("routing_tau", self.tracker.routing_tau),
            ("scaling_tau", self.tracker.scaling_tau),
            ("unknown_after", self.tracker.unknown_after),
        ] {
            if value.is_zero() {
                return Err(ConfigError::Zero { what });
            }
        }
        let Self {
            period,
            backoff,
            mut tracker,
            ..
        } = self;
        // What is fresh is no silence: otherwise nothing would ever recover.
        let gap = &mut tracker.health.longest_gap;
        *gap = tracker.stale_after.max(*gap);
        Ok(SamplerConfig {
            period,
            backoff,
            tracker,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::health::Verdict;
    use crate::reading::{DeviceFault, DeviceReading, Reading};
    use crate::snapshot::Freshness;
    use crate::tracker::Tracker;

    #[test]
    fn numbers_are_unknown_from_the_age_that_was_asked_for_or_after_four_periods() {
        let start = clock::now();
        let minute = Duration::from_secs(60);
        let freshness = |builder: SamplerBuilder, seconds| {
            let config = builder.period(minute).build().expect("valid");
            let mut tracker = Tracker::new(config.tracker);
            tracker.observe(Reading::default(), start);
            let later = start + Duration::from_secs(seconds);
            (tracker.freshness(later), tracker.freshness_lasts(later))
        };
        let seconds = |count| Some(Duration::from_secs(count));
        let unsaid = |age| freshness(SamplerConfig::builder(), age);
        assert_eq!(unsaid(100), (Freshness::Fresh, seconds(80)));
        assert_eq!(unsaid(200), (Freshness::Stale, seconds(40)));
        assert_eq!(unsaid(240), (Freshness::Unknown, None));
        let said = |age| freshness(SamplerConfig::builder().unknown_after(2 * minute), age);
        assert_eq!(said(100), (Freshness::Fresh, seconds(20)));
        assert_eq!(said(120), (Freshness::Unknown, None));
    }

    #[test]
    fn a_device_recovers_however_rarely_it_is_looked_at() {
        let start = clock::now();
        for seconds in [1, 6, 20] {
            let period = Duration::from_secs(seconds);
            let config = SamplerConfig::builder().period(period).build();
            let mut tracker = Tracker::new(config.expect("a valid period").tracker);
            let verdicts: Vec<Verdict> = (0..100)
                .map(|look| {
                    let now = start + period * look;
                    let mut gpu = DeviceReading::new("GPU-1");
                    gpu.fault = (look == 0).then_some(DeviceFault::ResetRequired);
                    let devices = vec![gpu];
                    tracker.observe(
                        Reading {
                            devices,
                            ..Reading::default()
                        },
                        now,
                    );
                    tracker.snapshot(now).devices[0].health.verdict
                })
                .collect();
            let ends = (verdicts.first(), verdicts.last());
            let expected = (Some(&Verdict::Unfit), Some(&Verdict::Healthy));
            assert_eq!(ends, expected, "a look every {seconds} s");
        }
    }
}
