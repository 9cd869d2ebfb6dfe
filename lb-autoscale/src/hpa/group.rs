//! Which pods count: ready, unready, missing or ignored.

use std::collections::HashMap;
use std::sync::Arc;

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

/// Finds samples by pod: in step if both lists name the same pods in the same
/// order (the usual case, and the fast one), through a map otherwise.
pub(super) enum Samples<'a> {
    InStep(&'a [PodSample]),
    ByName(HashMap<&'a str, &'a PodSample>),
}

impl<'a> Samples<'a> {
    pub(super) fn of(pods: &[Pod], samples: &'a [PodSample]) -> Self {
        let same = |(pod, sample): (&Pod, &PodSample)| {
            Arc::ptr_eq(&pod.name, &sample.pod) || pod.name == sample.pod
        };
        if pods.len() == samples.len() && pods.iter().zip(samples).all(same) {
            Self::InStep(samples)
        } else {
            Self::ByName(
                samples
                    .iter()
                    .map(|sample| (&*sample.pod, sample))
                    .collect(),
            )
        }
    }

    pub(super) fn get(&self, index: usize, pod: &Pod) -> Option<&'a PodSample> {
        match self {
            Self::InStep(samples) => samples.get(index),
            Self::ByName(samples) => samples.get(&*pod.name).copied(),
        }
    }

    /// Samples of pods that nobody knows.
    pub(super) fn strangers(&self, pods: &[Pod]) -> Vec<&'a PodSample> {
        match self {
            Self::InStep(_) => Vec::new(),
            Self::ByName(samples) => {
                let mut rest = samples.clone();
                for pod in pods {
                    rest.remove(&*pod.name);
                }
                rest.into_values().collect()
            }
        }
    }
}
