//! The last load report of an endpoint, made safe to balance by.
//!
//! Reports are late, missing, absurd or wrong. So each figure is checked (NaN
//! and negative ones are as good as missing), smoothed over a few seconds, and
//! believed only for a while. What they may change is bounded by the policy.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::report::LoadReport;

/// Figures are smoothed over this time (to 37 %) ...
const SMOOTH: Duration = Duration::from_secs(3);
/// ... but one report never counts for more than this share.
const NEWS: f64 = 0.3;
/// More work than this on one endpoint is not believed.
const ABSURD_WORK: f64 = 1e6;

/// CPU, GPU, memory, and the application's own view.
pub(crate) const RESOURCES: usize = 4;

/// The last report with what was known when it came.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    /// Smoothed shares, `0.0..=1.0`, by resource.
    pub(crate) pressure: [Option<f64>; RESOURCES],
    /// Work that ran or waited there, as reported.
    pub(crate) active_work: Option<f64>,
    /// The same, smoothed.
    pub(crate) smooth_work: Option<f64>,
    /// Own requests in flight there when the report came.
    pub(crate) in_flight: u32,
    /// Own work accepted there ever until the report came.
    pub(crate) accepted: u64,
    /// As it came, for status.
    pub(crate) report: Arc<LoadReport>,
}

impl Reading {
    /// What a report says after an earlier one; `expiry` tells whether the
    /// earlier one still counts.
    pub(crate) fn new(
        report: &LoadReport,
        before: Option<&Self>,
        now: Instant,
        expiry: Duration,
        own: (u32, u64),
    ) -> Self {
        let before = before.filter(|before| now.saturating_duration_since(before.at) <= expiry);
        let gain = before.map_or(1.0, |before| gain(now.saturating_duration_since(before.at)));
        let shares = shares(report);
        let active_work = report
            .active_work()
            .filter(|work| (0.0..=ABSURD_WORK).contains(work));
        Self {
            at: now,
            pressure: std::array::from_fn(|i| {
                mix(shares[i], before.and_then(|old| old.pressure[i]), gain)
            }),
            active_work,
            smooth_work: mix(active_work, before.and_then(|old| old.smooth_work), gain),
            in_flight: own.0,
            accepted: own.1,
            report: Arc::new(report.clone()),
        }
    }

    /// Whether it is young enough to be believed.
    #[inline]
    pub(crate) fn is_fresh(&self, now: Instant, expiry: Duration) -> bool {
        now.saturating_duration_since(self.at) <= expiry
    }
}

/// The shares of a report, those that can be believed.
fn shares(report: &LoadReport) -> [Option<f64>; RESOURCES] {
    [
        report.cpu_utilization,
        report.gpu_utilization(),
        report.mem_utilization,
        report.application_utilization,
    ]
    .map(|share| {
        share
            .filter(|share| *share >= 0.0 && share.is_finite())
            .map(|share| share.min(1.0))
    })
}

fn gain(passed: Duration) -> f64 {
    (1.0 - (-passed.as_secs_f64() / SMOOTH.as_secs_f64()).exp()).min(NEWS)
}

fn mix(news: Option<f64>, old: Option<f64>, gain: f64) -> Option<f64> {
    match (news, old) {
        (Some(news), Some(old)) => Some(old + (news - old) * gain),
        (news, _) => news,
    }
}
