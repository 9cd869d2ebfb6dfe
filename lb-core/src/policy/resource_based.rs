//! Most headroom: the policy for pools of simulations.
//!
//! Load reports are seconds old, and every gateway reads the same ones. A
//! policy that follows them sends everybody to the same endpoint (measured:
//! p99 9.4 s); one that multiplies them with its own requests in flight still
//! herds with forty gateways, and one that counts only its own requests is
//! blind to work it did not send. Here three views share the work:
//!
//! 1. **Answer time.** What a request costs at an endpoint is its recent answer
//!    time there, relative to the fleet's, times the own requests that wait
//!    there. Answer times contain *all* load that slows an endpoint, whoever
//!    sent it, and every gateway measures them itself: no two are misled alike.
//! 2. **Reports** scale that cost between once and twice: the pressure on CPU,
//!    GPU and memory and the share of reported work, smoothed over seconds. The
//!    bound keeps liars and herds harmless; a missing, stale or absurd figure
//!    is replaced by the fleet's average.
//! 3. **Work that outlives its request** (answered 202) shows in no answer time.
//!    As much as a pool is given such work, it is counted instead: the reported
//!    `active_work`, plus what was sent there from here since that report.
//!
//! Five endpoints drawn by weight are compared, all if there are no more.

use std::sync::Arc;

use crate::{
    candidates::Candidates,
    endpoint::{
        Stats,
        reading::{RESOURCES, Shares},
        stamped::Moment,
    },
    error::ConfigError,
    pick::{PickCx, Picker},
    policy::{
        Policy,
        draw::{Draw, Drawn},
    },
};

/// How many endpoints are compared.
const CHOICES: usize = 5;
/// Answer times count from this part to this multiple of the fleet's.
const SLOWEST: f64 = 8.0;

/// How several pressures become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Combine {
    /// The highest one: the resource that will run out first.
    #[default]
    Dominant,
    /// Their mean by weight.
    Weighted,
}

/// Most headroom in CPU, GPU, memory and active work; see the
/// [module](crate::policy) for how. Needs no report to work.
///
/// A weight of 0 leaves a resource out; other weights matter to
/// [`Combine::Weighted`] only.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ResourceBased {
    /// Weight of `cpu_utilization`. Default: 1.
    pub cpu: f64,
    /// Weight of `utilization.gpu`. Default: 1.
    pub gpu: f64,
    /// Weight of `mem_utilization`. Default: 1.
    pub memory: f64,
    /// Weight of `application_utilization`. Default: 1.
    pub application: f64,
    /// Weight of `named_metrics.active_work`. Default: 1.
    pub active_work: f64,
    /// How they become one. Default: the dominant one.
    pub combine: Combine,
    /// Recent failures count against an endpoint. Default: `true`.
    pub failure_aware: bool,
}

impl Default for ResourceBased {
    fn default() -> Self {
        Self {
            cpu: 1.0,
            gpu: 1.0,
            memory: 1.0,
            application: 1.0,
            active_work: 1.0,
            combine: Combine::Dominant,
            failure_aware: true,
        }
    }
}

impl ResourceBased {
    /// Weighs the resources: CPU, GPU, memory, active work.
    #[must_use]
    pub fn weights(mut self, cpu: f64, gpu: f64, memory: f64, active_work: f64) -> Self {
        (self.cpu, self.gpu, self.memory, self.active_work) = (cpu, gpu, memory, active_work);
        self.combine = Combine::Weighted;
        self
    }

    /// Whether recent failures count against an endpoint. Default: `true`.
    #[must_use]
    pub fn failure_aware(mut self, aware: bool) -> Self {
        self.failure_aware = aware;
        self
    }

    fn all_weights(&self) -> [f64; RESOURCES + 1] {
        [
            self.cpu,
            self.gpu,
            self.memory,
            self.application,
            self.active_work,
        ]
    }
}

impl Policy for ResourceBased {
    fn name(&self) -> &'static str {
        "resource_based"
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self
            .all_weights()
            .iter()
            .all(|weight| weight.is_finite() && *weight >= 0.0)
        {
            return Ok(());
        }
        Err(ConfigError::Range {
            what: "resource weights",
            must: "finite and not negative",
        })
    }

    fn build(&self, candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
        Arc::new(ResourcePicker {
            weights: self.all_weights(),
            config: self.clone(),
            draw: Draw::by_weight(candidates),
        })
    }
}

#[derive(Debug)]
struct ResourcePicker {
    config: ResourceBased,
    weights: [f64; RESOURCES + 1],
    draw: Draw,
}

/// What the candidates of one pick have in common.
#[derive(Clone, Copy, Debug)]
struct Mix {
    /// 0: answer times lead. 1: counted work leads.
    work_share: f64,
    /// Mean work at a candidate.
    mean_work: f64,
}

impl ResourcePicker {
    /// How much of the load is work that outlives its request: accepted lately
    /// per endpoint, against requests that wait.
    #[inline]
    fn mix(&self, candidates: &Candidates, now: Moment, among: &[usize]) -> Mix {
        let plain = Mix {
            work_share: 0.0,
            mean_work: 0.0,
        };
        let Some(first) = among.first() else {
            return plain;
        };
        let accepted = candidates.stats(*first).fleet().accepted(now);
        if accepted <= 0.0 {
            return plain;
        }
        let n = among.len() as f64;
        let accepted = accepted / candidates.available().len().max(1) as f64;
        let mean = |what: &dyn Fn(&Stats) -> f64| {
            among
                .iter()
                .map(|index| what(candidates.stats(*index)))
                .sum::<f64>()
                / n
        };
        let waiting = mean(&|stats| f64::from(stats.waiting()));
        Mix {
            work_share: accepted / (accepted + waiting),
            mean_work: mean(&|stats| stats.work_at(now)),
        }
    }

    #[inline]
    fn cost(&self, candidates: &Candidates, now: Moment, mix: Mix, index: usize) -> f64 {
        let stats = candidates.stats(index);
        let mut cost = 0.0;
        if mix.work_share < 1.0 {
            let queue = candidates.by_weight(stats.waiting(), index) + 1.0;
            cost += (1.0 - mix.work_share) * slowness(stats, now) * queue;
        }
        if mix.work_share > 0.0 {
            let weight = f64::from(candidates.weight(index));
            let work = (stats.work_at(now) / weight + 1.0) / (mix.mean_work + 1.0);
            cost += mix.work_share * work;
        }
        let factor = if self.config.failure_aware {
            stats.failure_factor_at(now)
        } else {
            1.0
        };
        cost * factor * (1.0 + self.pressure(stats, now))
    }

    /// How full the endpoint is by its reports: 0 to 1.
    #[inline]
    fn pressure(&self, stats: &Stats, now: Moment) -> f64 {
        let fleet = stats.fleet();
        let mut shares: Shares = stats.reported_shares(now);
        for (resource, share) in shares.iter_mut().enumerate() {
            *share = share.or_else(|| fleet.pressure(resource));
        }
        let work = work_pressure(stats, now);
        self.combine(shares.into_iter().chain([work]).zip(self.weights))
    }

    #[inline]
    fn combine(&self, shares: impl Iterator<Item = (Option<f64>, f64)>) -> f64 {
        let known = shares
            .filter(|(_, weight)| *weight > 0.0)
            .filter_map(|(share, weight)| Some((share?, weight)));
        match self.config.combine {
            Combine::Dominant => known.map(|(share, _)| share).fold(0.0, f64::max),
            Combine::Weighted => {
                let (sum, weights) = known.fold((0.0, 0.0), |(sum, all), (share, weight)| {
                    (sum + share * weight, all + weight)
                });
                if weights > 0.0 { sum / weights } else { 0.0 }
            }
        }
    }
}

/// Reported work against the fleet's: one half is the average.
#[inline]
fn work_pressure(stats: &Stats, now: Moment) -> Option<f64> {
    let fleet = stats.fleet().active_work();
    match stats.reported_work(now) {
        Some(work) if work + fleet > 0.0 => Some(work / (work + fleet)),
        Some(_) => Some(0.5),
        None => (fleet > 0.0).then_some(0.5),
    }
}

/// Answer time relative to the fleet's; 1 while nothing is known.
#[inline]
fn slowness(stats: &Stats, now: Moment) -> f64 {
    let (Some(fleet), Some(own)) = (stats.fleet().latency_seconds(), stats.expected_at(now)) else {
        return 1.0;
    };
    if fleet <= 0.0 {
        return 1.0;
    }
    (own.max(stats.silence_at(now)) / fleet).clamp(1.0 / SLOWEST, SLOWEST)
}

impl Picker for ResourcePicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let drawn: Drawn<CHOICES> = self.draw.several(candidates, cx);
        let now = candidates.moment(cx);
        let mix = self.mix(candidates, now, drawn.as_slice());
        drawn
            .least(candidates, cx, |index| {
                self.cost(candidates, now, mix, index)
            })
            .or_else(|| candidates.any(cx))
    }

    fn score(&self, candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        let all: Vec<usize> = candidates
            .available()
            .iter()
            .map(|index| *index as usize)
            .collect();
        let now = candidates.moment(cx);
        let mix = self.mix(candidates, now, &all);
        Some(self.cost(candidates, now, mix, index))
    }

    fn times_requests(&self) -> bool {
        true
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let draw = self.draw.refreshed(candidates)?;
        Some(Arc::new(Self {
            config: self.config.clone(),
            weights: self.weights,
            draw,
        }))
    }
}
