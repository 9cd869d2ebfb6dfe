//! The groups of one metric's pods as sums: one pass over pods and samples, and no list.

use std::sync::Arc;

use crate::inputs::{Container, Pod, PodSample, SampleValue};
use crate::spec::Platform;
use crate::{Quantity, UnixMillis};

use super::MetricError;
use super::group::{Group, Judge};
use super::names::ByName;
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
#[derive(Debug, Default, PartialEq, Eq)]
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

/// Neighbours that share their lists of containers, and so request the same:
/// they are counted, and what they request is multiplied once.
#[derive(Default)]
struct Run {
    lists: Option<Lists>,
    request: Quantity,
    used: i128,
    ready: u64,
    missing: u64,
    unready: u64,
}

/// Where a pod's containers and init containers lie. Different lists lie in
/// different places, but for empty ones, which are alike.
type Lists = (*const Container, *const Container);

// === impl Question ===

impl Question<'_> {
    /// O(pods + samples). Fastest if the samples come in the order of the pods,
    /// whoever is missing; any other order takes a table of names.
    ///
    /// # Errors
    ///
    /// A container without a request, or a sample without the container asked for.
    pub(super) fn tally(&self, pods: &[Pod], samples: &[PodSample]) -> Result<Tally, MetricError> {
        match self.in_step(pods, samples)? {
            Some(tally) => Ok(tally),
            None => self.by_name(pods, samples),
        }
    }

    /// A sample whose name is not the pod's is taken to be a later pod's, until more
    /// pods are without a sample than can be: then the order is another one, and there is no tally.
    fn in_step(&self, pods: &[Pod], samples: &[PodSample]) -> Result<Option<Tally>, MetricError> {
        let Some(mut may_miss) = pods.len().checked_sub(samples.len()) else {
            return Ok(None);
        };
        let mut rest = samples.iter();
        self.walk(pods, |pod| match rest.as_slice().first() {
            Some(next) if next.is_of(pod) => Some(rest.next()),
            _ => {
                may_miss = may_miss.checked_sub(1)?;
                Some(None)
            }
        })
    }

    fn by_name(&self, pods: &[Pod], samples: &[PodSample]) -> Result<Tally, MetricError> {
        let mut unclaimed = ByName::new(samples, self.now);
        let tally = self.walk(pods, |pod| Some(unclaimed.claim(&pod.name)))?;
        let mut tally = tally.unwrap_or_default();
        // Samples of pods that nobody knows count, but ask for nothing.
        for stranger in unclaimed.into_rest() {
            if let Some(value) = self.value(stranger)? {
                let request = self.percent.is_none().then_some(Quantity::default());
                tally.ready.add(value, request);
            }
        }
        Ok(tally)
    }

    /// Every pod with its sample; `None` as soon as `sample_of` gives up.
    fn walk<'s>(
        &self,
        pods: &[Pod],
        mut sample_of: impl FnMut(&Pod) -> Option<Option<&'s PodSample>>,
    ) -> Result<Option<Tally>, MetricError> {
        let judge = Judge::new(self.resource, self.platform, self.now);
        let (percent, whole) = (self.percent.unwrap_or_default(), self.container.is_none());
        let (mut tally, mut run) = (Tally::default(), Run::default());
        for pod in pods {
            let Some(sample) = sample_of(pod) else {
                return Ok(None);
            };
            let value = match sample.map(|sample| (&sample.value, sample)) {
                None => None,
                // The common case, apart from all that may fail.
                Some((SampleValue::Pod(value), _)) if whole => Some(*value),
                Some((_, sample)) => self.value(sample)?,
            };
            let lists = Some(lists(pod));
            if run.lists != lists {
                tally.close(&run, percent);
                // Kubernetes asks every pod for its request, even one that is leaving.
                run = Run {
                    lists,
                    request: self.request(pod)?,
                    ..Run::default()
                };
            }
            let group = judge.group(pod, sample.filter(|_| value.is_some()));
            run.add(group, value.unwrap_or_default());
        }
        tally.close(&run, percent);
        Ok(Some(tally))
    }

    fn request(&self, pod: &Pod) -> Result<Quantity, MetricError> {
        match self.percent {
            Some(_) => pod_request(pod, self.resource.unwrap_or_default(), self.container),
            None => Ok(Quantity::default()),
        }
    }

    /// The sample's value; `None` if a container that counts reported nothing.
    #[inline(never)] // keeps the walk short
    fn value(&self, sample: &PodSample) -> Result<Option<Quantity>, MetricError> {
        match (&sample.value, self.container) {
            (SampleValue::Pod(value), None) => Ok(Some(*value)),
            (SampleValue::Pod(_), Some(name)) => Err(MetricError::ContainerNotFound {
                container: name.into(),
            }),
            (SampleValue::Containers(values), container) => of_containers(values, container),
        }
    }
}

fn of_containers(
    values: &[(Arc<str>, Option<Quantity>)],
    container: Option<&str>,
) -> Result<Option<Quantity>, MetricError> {
    let Some(wanted) = container else {
        let values = values.iter().map(|(_, value)| *value);
        return Ok(values
            .reduce(|sum, value| Some(sum?.saturating_add(value?)))
            .flatten());
    };
    values
        .iter()
        .find(|(name, _)| **name == *wanted)
        .map(|(_, value)| *value)
        .ok_or_else(|| MetricError::ContainerNotFound {
            container: wanted.into(),
        })
}

fn lists(pod: &Pod) -> Lists {
    (pod.containers.as_ptr(), pod.init_containers.as_ptr())
}

// === impl Run ===

impl Run {
    #[inline] // once per pod and metric
    fn add(&mut self, group: Group, value: Quantity) {
        match group {
            Group::Ignored => {}
            Group::Ready => {
                self.ready += 1;
                self.used += i128::from(value.milli());
            }
            Group::Missing => self.missing += 1,
            Group::Unready => self.unready += 1,
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Adds what a run has counted.
    fn close(&mut self, run: &Run, percent: u32) {
        let request = i128::from(run.request.milli());
        let of = |pods: u64| request * i128::from(pods);
        self.ready_pods += run.ready;
        self.ready.add_group(run.ready, run.used, of(run.ready));
        self.unready += run.unready;
        self.unready_requested += of(run.unready);
        if run.missing > 0 {
            self.missing += run.missing;
            self.missing_requested += of(run.missing);
            // Truncated per pod, as Kubernetes does.
            let each = request * i128::from(percent.max(100)) / 100;
            self.missing_used += each * i128::from(run.missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inputs::Phase;

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

    /// Pods with lists that some share, in every phase; some report.
    fn fleet() -> impl Strategy<Value = (Vec<Pod>, Vec<PodSample>)> {
        let lists: Vec<Arc<[Container]>> = [1, 1, 3]
            .map(|cores| Arc::from([Container::cpu("main", Quantity::from_units(cores))]))
            .into();
        let pod = (0..3_usize, 0..8_u8, proptest::option::of(0..900_i64));
        proptest::collection::vec(pod, 1..20).prop_map(move |pods| {
            let built = (0..).zip(pods).map(|(n, (list, phase, used)): (u32, _)| {
                let mut pod = Pod::ready(format!("p{n}")).containers(Arc::clone(&lists[list]));
                match phase {
                    0 => pod.phase = Phase::Pending,
                    1 => pod.phase = Phase::Failed,
                    2 => pod.ready = None,
                    3 => pod.deleting = true,
                    _ => {}
                }
                let sample = used
                    .map(|used| PodSample::new(Arc::clone(&pod.name), Quantity::from_milli(used)));
                (pod, sample)
            });
            let (pods, samples): (Vec<_>, Vec<_>) = built.unzip();
            (pods, samples.into_iter().flatten().collect())
        })
    }

    proptest! {
        #[test]
        fn neither_order_nor_shared_lists_nor_shared_names_matter(
            (pods, samples) in fleet(),
            turn in 0..20_usize,
            percent in proptest::option::of(1..200_u32),
        ) {
            let question = Question {
                resource: Some("cpu"),
                container: None,
                percent,
                platform: &Platform::default(),
                now: UnixMillis::from_secs(1_000_000),
            };
            let tally = question.tally(&pods, &samples).unwrap();

            let mut apart: Vec<Pod> = pods.clone();
            for pod in &mut apart {
                pod.containers = pod.containers.to_vec().into();
                pod.name = Arc::from(&*pod.name);
            }
            apart.reverse();
            let mut turned = samples.clone();
            turned.rotate_left(turn % samples.len().max(1));
            prop_assert_eq!(&question.tally(&apart, &turned).unwrap(), &tally);
            prop_assert_eq!(&question.tally(&pods, &turned).unwrap(), &tally);
        }
    }
}
