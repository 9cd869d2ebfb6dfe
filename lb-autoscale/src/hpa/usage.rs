//! Sums over pods, and the ratio to the target they make.

use crate::Quantity;
use crate::inputs::Pod;

use super::MetricError;

/// Sums over the pods that count. Integers, so the order does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sum of the samples that count for the ratio, in thousandths.
    used: i128,
    /// Sum of the requests of the same pods, in thousandths.
    requested: i128,
    /// How many samples that sum has.
    known: u64,
    /// How many samples there are, those without a request included.
    entries: u64,
}

/// A ratio to the target with the numbers a status shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsageRatio {
    /// Observed over target.
    pub ratio: f64,
    /// Whole percent of the request, truncated; only for utilization targets.
    pub utilization_percent: Option<i32>,
    /// Mean of the samples, truncated to thousandths.
    pub average: Quantity,
}

impl Usage {
    /// Adds a sample and, if the pod is known, its request.
    #[inline]
    pub fn add(&mut self, used: Quantity, requested: Option<Quantity>) {
        self.entries += 1;
        if let Some(requested) = requested {
            self.used += i128::from(used.milli());
            self.requested += i128::from(requested.milli());
            self.known += 1;
        }
    }

    /// Adds `count` pods at once by their sums.
    pub(super) fn add_group(&mut self, count: u64, used: i128, requested: i128) {
        self.used += used;
        self.requested += requested;
        self.known += count;
        self.entries += count;
    }

    /// How many samples there are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Utilization over a target in percent: the truncated percentage of the
    /// sums, not the mean of the pods' percentages.
    ///
    /// # Errors
    ///
    /// [`MetricError::NoKnownPods`] if nothing is requested.
    pub fn utilization_ratio(&self, target_percent: u32) -> Result<UsageRatio, MetricError> {
        if self.requested == 0 || self.known == 0 {
            return Err(MetricError::NoKnownPods);
        }
        let percent = self.used * 100 / self.requested;
        let percent = i32::try_from(percent).unwrap_or(i32::MAX);
        Ok(UsageRatio {
            ratio: f64::from(percent) / f64::from(target_percent),
            utilization_percent: Some(percent),
            average: self.average(),
        })
    }

    /// The truncated average over a target value.
    #[must_use]
    pub fn average_ratio(&self, target: Quantity) -> UsageRatio {
        let average = self.average();
        let ratio = average.milli() as f64 / target.milli() as f64;
        UsageRatio {
            ratio,
            utilization_percent: None,
            average,
        }
    }

    fn average(&self) -> Quantity {
        let mean = self.used / i128::from(self.known.max(1));
        Quantity::from_milli(i64::try_from(mean).unwrap_or(i64::MAX))
    }
}

/// What a pod requests of `resource`, summed over its containers and the init
/// containers that keep running; with `container` only that one.
///
/// # Errors
///
/// [`MetricError::MissingRequest`] if a container that counts requests
/// nothing, [`MetricError::ContainerNotFound`] if the named one does not exist.
pub fn pod_request(
    pod: &Pod,
    resource: &str,
    container: Option<&str>,
) -> Result<Quantity, MetricError> {
    let sidecars = pod
        .init_containers
        .iter()
        .filter(|init| init.restart_always);
    let counted = pod
        .containers
        .iter()
        .chain(sidecars)
        .filter(|candidate| container.is_none_or(|name| *candidate.name == *name));
    let (mut sum, mut found) = (Quantity::default(), false);
    for candidate in counted {
        let request = candidate
            .request(resource)
            .ok_or_else(|| MetricError::MissingRequest {
                pod: pod.name.to_string(),
                container: candidate.name.to_string(),
            })?;
        sum = sum.saturating_add(request);
        found = true;
    }
    match container {
        Some(name) if !found => Err(MetricError::ContainerNotFound {
            container: name.into(),
        }),
        _ => Ok(sum),
    }
}
