//! The policies that are compared: ours, and the simple formulas they have to
//! beat, as pickers from outside the crate.

use std::sync::Arc;

use lb_core::{
    PickCx,
    candidates::Candidates,
    pick::Picker,
    policy::{
        ConsistentHash, LeastRequest, LeastResponseTime, Policy, PolicyConfig, Prequal, Random,
        ResourceBased, RoundRobin, WeightedRoundRobin,
    },
};

/// All that can be asked for, the baselines first.
pub(crate) const NAMES: &[&str] = &[
    "omniscient_jsq",
    "random",
    "round_robin",
    "argmin_report",
    "p2c_report",
    "p2c_inflight",
    "p2c_report_x_inflight",
    "weighted_round_robin",
    "least_request",
    "least_response_time",
    "prequal",
    "rendezvous_bounded",
    "resource_based",
];

/// Who decides.
pub(crate) enum Rule {
    /// One that knows every queue at this moment: the model itself.
    Omniscient,
    /// A policy of the pool.
    Pool(PolicyConfig),
}

impl Rule {
    pub(crate) fn named(name: &str) -> Option<Self> {
        let config: PolicyConfig = match name {
            "omniscient_jsq" => return Some(Self::Omniscient),
            "random" => Random::default().into(),
            "round_robin" => RoundRobin::default().into(),
            "weighted_round_robin" => WeightedRoundRobin::default().into(),
            "argmin_report" => custom(Formula {
                name: "argmin_report",
                all: true,
                score: utilization,
            }),
            "p2c_report" => custom(Formula {
                name: "p2c_report",
                all: false,
                score: utilization,
            }),
            "p2c_inflight" => LeastRequest::default().scan_up_to(0).into(),
            "p2c_report_x_inflight" => custom(Formula {
                name: "p2c_report_x_inflight",
                all: false,
                score: product,
            }),
            "least_request" => LeastRequest::default().into(),
            "least_response_time" => LeastResponseTime::default().into(),
            "prequal" => Prequal::default().into(),
            "rendezvous_bounded" => ConsistentHash::rendezvous().bound(1.25).into(),
            "resource_based" => ResourceBased::default().into(),
            _ => return None,
        };
        Some(Self::Pool(config))
    }
}

fn custom(formula: Formula) -> PolicyConfig {
    PolicyConfig::Custom(Arc::new(formula))
}

/// A simple formula over the last report: of all, or of two drawn.
#[derive(Clone, Copy, Debug)]
struct Formula {
    name: &'static str,
    all: bool,
    score: fn(&Candidates, &PickCx<'_>, usize) -> f64,
}

fn utilization(candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> f64 {
    let report = candidates.stats(index).load_report(cx.now());
    report
        .and_then(|report| report.cpu_utilization)
        .unwrap_or(0.0)
}

fn product(candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> f64 {
    let in_flight = f64::from(candidates.stats(index).in_flight());
    (0.05 + utilization(candidates, cx, index)) * (in_flight + 1.0)
}

impl Policy for Formula {
    fn name(&self) -> &str {
        self.name
    }

    fn build(&self, _candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
        Arc::new(*self)
    }
}

impl Picker for Formula {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let n = candidates.len();
        let score = |index: usize| (self.score)(candidates, cx, index);
        if self.all {
            // Ties at random.
            let lot = |index: usize| mixed(cx.random().wrapping_add(index as u64));
            let before =
                |a: &usize, b: &usize| score(*a).total_cmp(&score(*b)).then(lot(*a).cmp(&lot(*b)));
            return (0..n).min_by(before);
        }
        let first = (cx.random() % n as u64) as usize;
        if n == 1 {
            return Some(first);
        }
        let second = (first + 1 + ((cx.random() >> 32) % (n as u64 - 1)) as usize) % n;
        Some(if score(first) <= score(second) {
            first
        } else {
            second
        })
    }
}

/// Spreads one number's bits over all 64 (the finalizer of SplitMix64): neighbours
/// share nothing, so that no host wins ties more often than another.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
