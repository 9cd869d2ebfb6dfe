//! Which pods count: ready, unready, missing or ignored.

use std::time::Duration;

use crate::UnixMillis;
use crate::inputs::{Phase, Pod, PodSample};
use crate::spec::Platform;

/// What a pod's sample is worth for one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Its sample counts.
    Ready,
    /// Its sample, if any, does not count; when growing it is assumed idle.
    Unready,
    /// It reported nothing.
    Missing,
    /// It is leaving or has failed: it does not exist for the metric.
    Ignored,
}

/// Classifies one pod. Readiness matters for `cpu` alone, because a starting
/// process burns CPU that says nothing about load.
#[must_use]
pub fn group_pod(
    pod: &Pod,
    sample: Option<&PodSample>,
    resource: Option<&str>,
    platform: &Platform,
    now: UnixMillis,
) -> Group {
    Judge::new(resource, platform, now).group(pod, sample)
}

/// What all pods of one metric are judged by.
pub(super) struct Judge<'a> {
    cpu: bool,
    /// Who started later is still starting.
    initialized: UnixMillis,
    platform: &'a Platform,
    now: UnixMillis,
}

impl<'a> Judge<'a> {
    pub(super) fn new(resource: Option<&str>, platform: &'a Platform, now: UnixMillis) -> Self {
        let starting = u64::from(platform.cpu_initialization_period_seconds);
        Self {
            cpu: resource == Some("cpu"),
            initialized: now - Duration::from_secs(starting),
            platform,
            now,
        }
    }

    #[inline] // once per pod and metric
    pub(super) fn group(&self, pod: &Pod, sample: Option<&PodSample>) -> Group {
        if pod.deleting || pod.phase == Phase::Failed {
            return Group::Ignored;
        }
        if pod.phase == Phase::Pending {
            return Group::Unready;
        }
        match sample {
            None => Group::Missing,
            Some(sample) if self.cpu && self.is_settling(pod, sample) => Group::Unready,
            Some(_) => Group::Ready,
        }
    }

    /// Whether the pod's CPU still speaks of its start instead of its load.
    #[inline]
    fn is_settling(&self, pod: &Pod, sample: &PodSample) -> bool {
        let (Some(ready), Some(started)) = (pod.ready, pod.started_at) else {
            return true;
        };
        let changed = || pod.ready_changed_at.unwrap_or(started).millis();
        let millis = |seconds: u32| i64::from(seconds) * 1_000;
        if started > self.initialized {
            let measured = sample.at.unwrap_or(self.now).millis();
            return !ready || measured < changed().saturating_add(millis(sample.window_seconds));
        }
        let delay = millis(self.platform.initial_readiness_delay_seconds);
        !ready && changed() < started.millis().saturating_add(delay)
    }
}
