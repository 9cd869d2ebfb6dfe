//! Which pods count: ready, unready, missing or ignored.

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
#[inline] // once per pod and metric
#[must_use]
pub fn group_pod(
    pod: &Pod,
    sample: Option<&PodSample>,
    resource: Option<&str>,
    platform: &Platform,
    now: UnixMillis,
) -> Group {
    if pod.deleting || pod.phase == Phase::Failed {
        return Group::Ignored;
    }
    if pod.phase == Phase::Pending {
        return Group::Unready;
    }
    match sample {
        None => Group::Missing,
        Some(sample) if resource == Some("cpu") && is_settling(pod, sample, platform, now) => {
            Group::Unready
        }
        Some(_) => Group::Ready,
    }
}

/// Whether the pod's CPU still speaks of its start instead of its load.
#[inline]
fn is_settling(pod: &Pod, sample: &PodSample, platform: &Platform, now: UnixMillis) -> bool {
    let (Some(ready), Some(started)) = (pod.ready, pod.started_at) else {
        return true;
    };
    let changed = pod.ready_changed_at.unwrap_or(started).millis();
    let millis = |seconds: u32| i64::from(seconds) * 1_000;
    if now.age_of(started) < millis(platform.cpu_initialization_period_seconds) {
        let measured = sample.at.unwrap_or(now).millis();
        return !ready || measured < changed.saturating_add(millis(sample.window_seconds));
    }
    let never_ready_before = started
        .millis()
        .saturating_add(millis(platform.initial_readiness_delay_seconds));
    !ready && changed < never_ready_before
}
