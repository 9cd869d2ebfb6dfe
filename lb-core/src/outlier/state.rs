//! What is known of one endpoint, and when it is let back.

use std::time::{Duration, Instant};

use super::detection::OutlierDetection;
use super::latency::Latency;
use super::success_rate::SuccessRate;
use super::window::Window;

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Reason {
    /// Too many failures in a row.
    ConsecutiveFailures,
    /// It succeeds noticeably less often than the fleet.
    SuccessRate,
    /// Too large a share of its requests failed.
    FailureShare,
    /// It answers noticeably later than the fleet.
    Latency,
}

impl Reason {
    /// A stable word for programs: lower case, with underscores.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::SuccessRate => "success_rate",
            Self::FailureShare => "failure_share",
            Self::Latency => "latency",
        }
    }
}

/// An endpoint that is out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ejection {
    /// Why.
    pub reason: Reason,
    /// When it went out.
    pub since: Instant,
    /// When it is let back, within one look of the detector.
    pub until: Instant,
}

/// The record of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Failures since the last success.
    pub(super) row: u32,
    window: Window,
    /// What the next ejection's time is multiplied by, less one.
    pub(super) count: u32,
    pub(super) ejections_total: u64,
    /// When it came back, or the count was last reduced.
    healthy_since: Instant,
    pub(super) ejection: Option<Ejection>,
}

impl Record {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self {
            row: 0,
            window: Window::new(interval, now),
            count: 0,
            ejections_total: 0,
            healthy_since: now,
            ejection: None,
        }
    }

    /// One request ended. `true` when the row of failures is complete, and again
    /// with every further row. While it is out nothing counts: what ends then
    /// began before.
    pub(super) fn observe(
        &mut self,
        failed: bool,
        config: &OutlierDetection,
        now: Instant,
    ) -> bool {
        if self.ejection.is_some() {
            return false;
        }
        self.window.add(failed, now);
        self.row = if failed {
            self.row.saturating_add(1)
        } else {
            0
        };
        failed && self.row.is_multiple_of(config.consecutive)
    }

    /// How long a request took, or a cancelled one at least.
    pub(super) fn time(&mut self, latency: Duration, now: Instant) {
        if self.ejection.is_none() {
            self.window.time(latency, now);
        }
    }

    pub(super) fn latency(&mut self, now: Instant) -> Latency {
        self.window.latency(now)
    }

    pub(super) fn success_rate(&mut self, now: Instant) -> SuccessRate {
        self.window.success_rate(now)
    }

    /// Out for the base time, times the ejections that are not forgotten.
    pub(super) fn eject(&mut self, reason: Reason, config: &OutlierDetection, now: Instant) {
        let time = config
            .base_time
            .saturating_mul(self.count.saturating_add(1));
        // Beyond the longest time the count would only delay forgiveness.
        if time < config.longest_time {
            self.count += 1;
        }
        self.ejections_total += 1;
        self.ejection = Some(Ejection {
            reason,
            since: now,
            until: now + time.min(config.longest_time),
        });
    }

    /// Time has passed: `true` if it is let back now.
    pub(super) fn pass(&mut self, config: &OutlierDetection, now: Instant) -> bool {
        match self.ejection {
            Some(ejection) if now >= ejection.until => {
                self.ejection = None;
                self.healthy_since = now;
                self.forget_requests(config, now);
                true
            }
            Some(_) => false,
            None => {
                self.forgive(config.interval, now);
                false
            }
        }
    }

    /// Each full interval inside reduces the count by one.
    fn forgive(&mut self, interval: Duration, now: Instant) {
        if now.saturating_duration_since(self.healthy_since) >= interval {
            self.count = self.count.saturating_sub(1);
            self.healthy_since = now;
        }
    }

    /// Begins to count anew.
    pub(super) fn forget_requests(&mut self, config: &OutlierDetection, now: Instant) {
        self.row = 0;
        self.window = Window::new(config.interval, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds_out(record: &mut Record, config: &OutlierDetection, now: Instant) -> u64 {
        record.eject(Reason::ConsecutiveFailures, config, now);
        let ejection = record.ejection.unwrap();
        ejection.until.duration_since(ejection.since).as_secs()
    }

    #[test]
    fn every_ejection_is_longer_than_the_one_before_up_to_the_longest() {
        let config = OutlierDetection::default();
        let mut now = crate::clock::now();
        let mut record = Record::new(config.interval, now);
        let mut times = Vec::new();
        for _ in 0..12 {
            times.push(seconds_out(&mut record, &config, now));
            now += 300 * SECOND;
            assert!(record.pass(&config, now));
        }
        assert_eq!(
            times,
            [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
        );
    }

    #[test]
    fn an_endpoint_may_stay_out_for_ever() {
        let config = OutlierDetection::default()
            .interval(Duration::MAX)
            .base_time(Duration::MAX)
            .longest_time(Duration::MAX);
        let now = crate::clock::now();
        let mut record = Record::new(config.interval, now);
        record.eject(Reason::FailureShare, &config, now);
        assert!(!record.pass(&config, now + 86_400 * SECOND));
    }

    #[test]
    fn each_healthy_interval_forgives_one_ejection() {
        let config = OutlierDetection::default();
        let mut now = crate::clock::now();
        let mut record = Record::new(config.interval, now);
        for _ in 0..2 {
            let out = seconds_out(&mut record, &config, now);
            now += Duration::from_secs(out);
            assert!(record.pass(&config, now));
        }
        now += 9 * SECOND;
        assert!(!record.pass(&config, now));
        assert_eq!(record.count, 2, "nine seconds are no interval");
        now += SECOND;
        assert!(!record.pass(&config, now));
        assert_eq!(seconds_out(&mut record, &config, now), 60);
    }

    #[test]
    fn what_ends_while_it_is_out_says_nothing() {
        let config = OutlierDetection::default();
        let now = crate::clock::now();
        let mut record = Record::new(config.interval, now);
        record.eject(Reason::FailureShare, &config, now);
        assert!((0..20).all(|_| !record.observe(true, &config, now)));
        assert_eq!(record.row, 0);
    }
}
