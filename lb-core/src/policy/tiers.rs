//! Priority tiers: the first as long as it can, the next for the rest.

use std::sync::Arc;

use crate::{
    candidates::{Candidates, Rules},
    error::ConfigError,
    pick::{PickCx, Picker, below, next_bits},
    policy::{Policy, PolicyConfig, group::Group},
};

/// Shares of the traffic per tier, in per cent: each tier takes what it can,
/// lower ones what is left. A tier is fully available while `100 / 1.4` per
/// cent of it are healthy (Envoy's overprovisioning factor).
///
/// Per tier: how many are healthy, and how many there are.
///
/// ```
/// use lb_core::policy::priority_spill;
///
/// assert_eq!(priority_spill(&[(1, 2), (2, 2)]), [70, 30]);
/// assert_eq!(priority_spill(&[(0, 2), (0, 2)]), [100, 0]); // nothing helps
/// ```
#[must_use]
pub fn priority_spill(tiers: &[(usize, usize)]) -> Vec<u32> {
    let available: Vec<u32> = tiers
        .iter()
        .map(|(healthy, total)| availability(*healthy, *total))
        .collect();
    let sum = available.iter().sum::<u32>().min(100);
    let mut shares = vec![0; tiers.len()];
    let Some(first) = available.iter().position(|share| *share > 0) else {
        if let Some(share) = shares.first_mut() {
            *share = 100;
        }
        return shares;
    };
    let mut left = 100;
    for (share, available) in shares.iter_mut().zip(&available) {
        *share = left.min(available * 100 / sum);
        left -= *share;
    }
    shares[first] += left;
    shares
}

fn availability(healthy: usize, total: usize) -> u32 {
    if total == 0 {
        return 0;
    }
    (healthy as u64 * 140 / total as u64).min(100) as u32
}

/// Uses the tier of priority 0; as its endpoints fail, a growing share of the
/// traffic spills over to the next tiers, see [`priority_spill`]. Within a tier
/// another policy chooses. Endpoints that differ in priority get this by
/// themselves, whatever the pool's policy.
///
/// Health is overlooked (panic) only while all tiers together cannot carry the
/// traffic.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct PriorityTiers {
    /// The policy within each tier. Default: least request.
    pub within: Box<PolicyConfig>,
}

impl PriorityTiers {
    /// Tiers with this policy within each.
    pub fn of(policy: impl Into<PolicyConfig>) -> Self {
        Self {
            within: Box::new(policy.into()),
        }
    }
}

impl Policy for PriorityTiers {
    fn name(&self) -> &str {
        "priority_tiers"
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.within.check()
    }

    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        let mut priorities: Vec<u32> = (0..candidates.len())
            .map(|index| candidates.endpoint(index).priority())
            .collect();
        priorities.sort_unstable();
        priorities.dedup();
        let tier = |priority: &u32| {
            let of = |index: &usize| candidates.endpoint(*index).priority() == *priority;
            let members = (0..candidates.len()).filter(of);
            Group::new(candidates, members, candidates.rules, &*self.within, random)
        };
        let tiers: Vec<_> = priorities.iter().map(tier).collect();
        Arc::new(TierPicker::new(&tiers, candidates.rules))
    }
}

#[derive(Debug)]
struct TierPicker {
    tiers: Vec<Group>,
    shares: Vec<u32>,
}

impl TierPicker {
    fn new(tiers: &[Group], rules: Rules) -> Self {
        let health: Vec<_> = tiers.iter().map(Group::health).collect();
        let total: u32 = health
            .iter()
            .map(|(healthy, total)| availability(*healthy, *total))
            .sum();
        // Together they can carry it: no need to send anybody to a sick one.
        let panic_threshold = if total >= 100 {
            0.0
        } else {
            rules.panic_threshold
        };
        let rules = Rules {
            panic_threshold,
            ..rules
        };
        let tiers = tiers.iter().map(|tier| tier.refreshed(rules)).collect();
        Self {
            tiers,
            shares: priority_spill(&health),
        }
    }
}

impl Picker for TierPicker {
    fn pick(&self, _candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        // By the key, as in Envoy: a key whose request spilled over stays in that tier.
        let mut state = cx.key().rotate_left(32);
        let mut lot = below(next_bits(&mut state), 100) as u32;
        for (tier, share) in self.tiers.iter().zip(&self.shares) {
            if lot < *share {
                if let Some(index) = tier.pick(cx) {
                    return Some(index);
                }
                break;
            }
            lot -= share;
        }
        // Its tier is full or was tried: the best that can take it.
        self.tiers.iter().find_map(|tier| tier.pick(cx))
    }

    fn score(&self, _candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        self.tiers.iter().find_map(|tier| tier.score(cx, index))
    }

    fn times_requests(&self) -> bool {
        self.tiers.iter().any(Group::times_requests)
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        Some(Arc::new(Self::new(&self.tiers, candidates.rules)))
    }
}
