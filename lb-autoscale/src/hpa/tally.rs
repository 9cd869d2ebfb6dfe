//! The groups of one metric's pods as sums: one pass over pods and samples, and no list.

use std::collections::HashMap;

use crate::inputs::{Pod, PodSample, SampleValue};
use crate::spec::Platform;
use crate::{Quantity, UnixMillis};

use super::MetricError;
use super::group::{Group, group_pod};
use super::usage::{Usage, pod_request};

/// What one metric asks of every pod.
pub(super) struct Question<'a> {
    /// The resource, unless it is a custom metric.
    pub(super) resource: Option<&'a str>,
    /// The only container that counts, if there is one.
    pub(super) container: Option<&'a str>,
    /// Percent of the request, for utilization targets; requests do not matter without.
    pub(super) percent: Option<u32>,
    pub(super) platform: &'a Platform,
    pub(super) now: UnixMillis,
}

/// Sums over the groups. Integers, so the order of the pods does not matter.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) ready: Usage,
    pub(super) ready_pods: u64,
    pub(super) missing: u64,
    pub(super) missing_requested: i128,
    /// What missing pods are assumed to use when shrinking: their request, or
    /// the target where that is higher.
    pub(super) missing_used: i128,
    pub(super) unready: u64,
    pub(super) unready_requested: i128,
}

// === impl Question ===

impl Question<'_> {
    /// O(pods + samples). Fastest if the samples come in the order of the pods,
    /// whoever is missing; any other order takes a map by name.
    ///
    /// # Errors
    ///
    /// A container without a request, or a sample without the container asked for.
    pub(super) fn tally(&self, pods: &[Pod], samples: &[PodSample]) -> Result<Tally, MetricError> {
        let mut rest = samples;
        let in_step = self.walk(pods, |pod| {
            let (next, others) = rest.split_first()?;
            next.is_of(pod).then(|| {
                rest = others;
                next
            })
        })?;
        // Every sample has found its pod, so a pod that found none has none.
        if rest.is_empty() {
            return Ok(in_step);
        }
        let named = samples.iter().map(|sample| (&*sample.pod, sample));
        let mut unclaimed: HashMap<&str, &PodSample> = named.collect();
        let mut tally = self.walk(pods, |pod| unclaimed.remove(&*pod.name))?;
        // Samples of pods that nobody knows count, but ask for nothing.
        for stranger in unclaimed.into_values() {
            if let Some(value) = sample_value(stranger, self.container)? {
                let request = self.percent.is_none().then_some(Quantity::default());
                tally.ready.add(value, request);
            }
        }
        Ok(tally)
    }

    fn walk<'s>(
        &self,
        pods: &[Pod],
        mut sample_of: impl FnMut(&Pod) -> Option<&'s PodSample>,
    ) -> Result<Tally, MetricError> {
        let mut tally = Tally::default();
        let mut twin: Option<(&Pod, Quantity)> = None;
        let percent = i128::from(self.percent.unwrap_or_default().max(100));
        for pod in pods {
            let sample = sample_of(pod);
            let value = match sample {
                Some(sample) => sample_value(sample, self.container)?,
                None => None,
            };
            let sample = sample.filter(|_| value.is_some());
            let group = group_pod(pod, sample, self.resource, self.platform, self.now);
            // Kubernetes asks every pod for its request, even one that is leaving.
            let request = match twin {
                Some((twin, request)) if twin.shares_containers(pod) => request,
                _ => self.request(pod)?,
            };
            twin = Some((pod, request));
            tally.add(group, value, request, percent);
        }
        Ok(tally)
    }

    fn request(&self, pod: &Pod) -> Result<Quantity, MetricError> {
        match self.percent {
            Some(_) => pod_request(pod, self.resource.unwrap_or_default(), self.container),
            None => Ok(Quantity::default()),
        }
    }
}

// === impl Tally ===

impl Tally {
    #[inline]
    fn add(&mut self, group: Group, value: Option<Quantity>, request: Quantity, percent: i128) {
        let requested = i128::from(request.milli());
        match group {
            Group::Ignored => {}
            Group::Ready => {
                self.ready_pods += 1;
                self.ready.add(value.unwrap_or_default(), Some(request));
            }
            Group::Missing => {
                self.missing += 1;
                self.missing_requested += requested;
                // Dividing 128 bits is slow, and hardly ever needed.
                self.missing_used += match percent {
                    100 => requested,
                    percent => requested * percent / 100,
                };
            }
            Group::Unready => {
                self.unready += 1;
                self.unready_requested += requested;
            }
        }
    }
}

/// The sample's value; `None` if a container that counts reported nothing.
#[inline]
fn sample_value(
    sample: &PodSample,
    container: Option<&str>,
) -> Result<Option<Quantity>, MetricError> {
    match (&sample.value, container) {
        (SampleValue::Pod(value), None) => Ok(Some(*value)),
        (SampleValue::Pod(_), Some(name)) => Err(MetricError::ContainerNotFound {
            container: name.into(),
        }),
        (SampleValue::Containers(values), None) => Ok(values
            .iter()
            .map(|(_, value)| *value)
            .reduce(|sum, value| Some(sum?.saturating_add(value?)))
            .flatten()),
        (SampleValue::Containers(values), Some(wanted)) => values
            .iter()
            .find(|(name, _)| **name == *wanted)
            .map(|(_, value)| *value)
            .ok_or_else(|| MetricError::ContainerNotFound {
                container: wanted.into(),
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Container;

    fn tally(pods: &[&str], samples: &[(&str, i64)]) -> (u64, u64, u64) {
        let requests = [Container::cpu("main", Quantity::from_units(1))];
        let pods: Vec<Pod> = pods
            .iter()
            .map(|name| Pod::ready(*name).containers(requests.clone()))
            .collect();
        let samples: Vec<PodSample> = samples
            .iter()
            .map(|(name, value)| PodSample::new(*name, Quantity::from_milli(*value)))
            .collect();
        let question = Question {
            resource: Some("cpu"),
            container: None,
            percent: Some(50),
            platform: &Platform::default(),
            now: UnixMillis::from_secs(1_000_000),
        };
        let tally = question.tally(&pods, &samples).unwrap();
        (tally.ready_pods, tally.missing, tally.ready.entries())
    }

    #[test]
    fn a_pod_between_others_may_be_missing() {
        assert_eq!(tally(&["a", "b", "c"], &[("a", 1), ("c", 3)]), (2, 1, 2));
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        assert_eq!(tally(&["a", "b", "c"], &[("c", 3), ("a", 1)]), (2, 1, 2));
    }

    #[test]
    fn a_stranger_is_an_entry_but_no_pod() {
        assert_eq!(
            tally(&["a", "b"], &[("x", 9), ("a", 1), ("b", 2)]),
            (2, 0, 3)
        );
        assert_eq!(
            tally(&["a", "b"], &[("a", 1), ("b", 2), ("x", 9)]),
            (2, 0, 3)
        );
    }

    #[test]
    fn of_two_samples_of_one_pod_the_last_counts() {
        assert_eq!(
            tally(&["a", "b"], &[("a", 1), ("a", 2), ("b", 3)]),
            (2, 0, 2)
        );
    }
}
