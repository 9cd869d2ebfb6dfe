//! What makes an outlier, how long it is out, and how many may be.

use std::time::Duration;

use super::detector::OutlierDetector;
use super::latency::{Latency, Slowness};
use super::state::Reason;
use super::success_rate::{Deviation, SuccessRate};
use crate::clock::bounded;
use crate::error::ConfigError;
use crate::pool::Pool;

/// Fewer failures than this share make nobody an outlier, however equal the others are.
const TOLERATED: f64 = 0.05;

/// Passive outlier detection under construction; see the [module](super).
#[derive(Clone, Debug)]
pub struct OutlierDetection {
    pub(super) consecutive: u32,
    pub(super) interval: Duration,
    pub(super) base_time: Duration,
    pub(super) longest_time: Duration,
    pub(super) max_share: f64,
    pub(super) overload: bool,
    pub(super) slowness: Option<Slowness>,
    deviation: Deviation,
    failure_share: f64,
    failure_requests: u64,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive: 5,
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            longest_time: Duration::from_secs(300),
            max_share: 0.1,
            overload: true,
            slowness: None,
            deviation: Deviation::default(),
            failure_share: 0.85,
            failure_requests: 50,
        }
    }
}

impl OutlierDetection {
    /// Failures in a row that eject at once. Default: 5; `u32::MAX` practically never.
    #[must_use]
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive = failures;
        self
    }

    /// How far back requests count, and how long an endpoint has to stay inside
    /// until one ejection is forgiven. A tenth of it passes between two looks at
    /// the fleet. Default: 10 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = bounded(interval);
        self
    }

    /// How long the first ejection lasts; the n-th lasts n times as long. Default: 30 s.
    #[must_use]
    pub fn base_time(mut self, time: Duration) -> Self {
        self.base_time = bounded(time);
        self
    }

    /// How long any ejection lasts at most. Default: 300 s.
    #[must_use]
    pub fn longest_time(mut self, time: Duration) -> Self {
        self.longest_time = bounded(time);
        self
    }

    /// Share of the members that may be out at once; one may always, except the
    /// last that is available. Default: 0.1.
    #[must_use]
    pub fn max_share(mut self, share: f64) -> Self {
        self.max_share = share;
        self
    }

    /// When the success rate lies too far below the fleet's. Default:
    /// [`Deviation::default`]. Endpoints that fail less than 5 % of their requests
    /// are left alone.
    #[must_use]
    pub fn deviation(mut self, deviation: Deviation) -> Self {
        self.deviation = deviation;
        self
    }

    /// The share of failed requests that is too much by itself, and how many
    /// requests an interval must have seen. Who fails none has no such share. Default:
    /// 0.85 of at least 50.
    #[must_use]
    pub fn failure_share(mut self, share: f64, requests: u64) -> Self {
        self.failure_share = share;
        self.failure_requests = requests;
        self
    }

    /// When an endpoint is too slow compared with the fleet. For pools whose requests are
    /// much alike: whoever gets the long ones by chance looks slow. Default: never.
    #[must_use]
    pub fn slower_than_fleet(mut self, slowness: Slowness) -> Self {
        self.slowness = Some(slowness);
        self
    }

    /// Answers of 429 and 503 say nothing here: for endpoints that limit single
    /// clients. Default: they count as failures.
    #[must_use]
    pub fn ignore_overload(mut self) -> Self {
        self.overload = false;
        self
    }

    /// Watches the endpoints of `pool` until the handle or the pool is dropped.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] if a setting cannot work, [`ConfigError::NoRuntime`]
    /// outside of a tokio runtime.
    pub fn start(&self, pool: &Pool) -> Result<OutlierDetector, ConfigError> {
        self.check()?;
        OutlierDetector::start(self.clone(), pool)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let (above, within) = ("above zero", "a share from 0 to 1");
        let rules = [
            ("outlier consecutive_failures", above, self.consecutive > 0),
            (
                "outlier interval",
                "at least 100 ms",
                self.interval >= Duration::from_millis(100),
            ),
            ("outlier base_time", above, !self.base_time.is_zero()),
            (
                "outlier longest_time",
                "at least base_time",
                self.longest_time >= self.base_time,
            ),
            ("outlier max_share", within, share(self.max_share)),
            (
                "outlier deviation factor",
                "zero or more",
                self.deviation.stdev_factor >= 0.0,
            ),
            ("outlier failure_share", within, share(self.failure_share)),
            (
                "outlier slowness factor",
                "at least 1",
                self.slowness.is_none_or(|slow| slow.factor >= 1.0),
            ),
        ];
        match rules.into_iter().find(|(.., holds)| !holds) {
            Some((what, must, _)) => Err(ConfigError::Range { what, must }),
            None => Ok(()),
        }
    }

    /// How many of so many members may be out at once.
    pub(super) fn room(&self, members: usize) -> usize {
        // A product a hair below a whole number is that number.
        ((self.max_share * members as f64 + 1e-9) as usize).max(1)
    }

    /// Positions of those that the last interval speaks against, worst first.
    pub(super) fn suspects(
        &self,
        fleet: &[SuccessRate],
        times: &[Latency],
    ) -> Vec<(usize, Reason)> {
        let failures = |host: &SuccessRate| 1.0 - host.rate;
        let too_many = |host: &SuccessRate| {
            let enough = host.requests >= self.failure_requests.max(1);
            enough && host.rate < 1.0 && failures(host) >= self.failure_share
        };
        let share = (0..fleet.len()).filter(|at| too_many(&fleet[*at]));
        let mut suspects: Vec<_> = share.map(|at| (at, Reason::FailureShare)).collect();
        let deviating = self.deviation.outliers(fleet).into_iter();
        let deviating = deviating.filter(|at| failures(&fleet[*at]) >= TOLERATED);
        for at in deviating {
            if !too_many(&fleet[at]) {
                suspects.push((at, Reason::SuccessRate));
            }
        }
        suspects.sort_by(|(one, _), (other, _)| fleet[*one].rate.total_cmp(&fleet[*other].rate));
        let late = self.slowness.map_or(Vec::new(), |slow| slow.late(times));
        suspects.extend(late.into_iter().map(|at| (at, Reason::Latency)));
        suspects
    }
}
