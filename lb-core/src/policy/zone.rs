//! The own zone first, as far as it carries.

use std::sync::Arc;

use crate::{
    candidates::{Candidates, Rules},
    error::ConfigError,
    pick::{PickCx, Picker, next_bits},
    policy::{Policy, PolicyConfig, group::Group},
};

/// Keeps requests in the caller's own zone as long as that zone carries its
/// part: while its available weight is at least an even part of all zones'
/// (less the 1.4 that every fleet has in reserve). Below, the missing share
/// goes to the other zones. Within, another policy chooses. Whether health is
/// overlooked (panic) is decided for all zones together: a sick zone among well ones
/// is left alone.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ZoneAware {
    /// The caller's zone.
    pub zone: String,
    /// The policy within the zone and outside. Default: least request.
    pub within: Box<PolicyConfig>,
}

impl ZoneAware {
    /// Prefers `zone`; `policy` chooses within.
    pub fn new(zone: impl Into<String>, policy: impl Into<PolicyConfig>) -> Self {
        Self {
            zone: zone.into(),
            within: Box::new(policy.into()),
        }
    }
}

impl Policy for ZoneAware {
    fn name(&self) -> &str {
        "zone_aware"
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.within.check()
    }

    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        let is_local = |index: &usize| candidates.endpoint(*index).zone() == Some(&*self.zone);
        let (local, other): (Vec<usize>, Vec<usize>) = (0..candidates.len()).partition(is_local);
        let rules = common_rules(candidates);
        let group = |members: Vec<usize>| {
            let members = members.into_iter();
            Group::new(candidates, members, rules, &*self.within, random)
        };
        Arc::new(ZonePicker::new(group(local), group(other)))
    }
}

#[derive(Debug)]
struct ZonePicker {
    local: Group,
    other: Group,
    /// Of 2^32 requests this many stay in the zone.
    stay: u64,
}

impl ZonePicker {
    fn new(local: Group, other: Group) -> Self {
        let share = local_share(local.candidates(), other.candidates());
        Self {
            stay: (share * 4_294_967_296.0) as u64,
            local,
            other,
        }
    }
}

/// In a zone health is overlooked if it is in all of them.
fn common_rules(all: &Candidates) -> Rules {
    let panics = all.is_panicking();
    Rules {
        panic_threshold: if panics { 1.0 } else { 0.0 },
        ..all.rules
    }
}

/// The share of requests that the own zone carries.
fn local_share(local: &Candidates, other: &Candidates) -> f64 {
    let weight = |candidates: &Candidates| -> f64 {
        candidates
            .available()
            .iter()
            .map(|index| f64::from(candidates.weight(*index as usize)))
            .sum()
    };
    let mut zones: Vec<_> = (0..other.len())
        .map(|index| other.endpoint(index).zone())
        .collect();
    zones.sort_unstable();
    zones.dedup();
    let here = weight(local);
    let even = (here + weight(other)) / (zones.len() as f64 + 1.0);
    if here <= 0.0 {
        0.0
    } else {
        (1.4 * here / even).min(1.0)
    }
}

impl Picker for ZonePicker {
    fn pick(&self, _candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        // By the key, so that a key is not now in this zone and now in another.
        let mut state = cx.key().rotate_left(16);
        let stays = u64::from(next_bits(&mut state)) < self.stay;
        let (first, second) = if stays {
            (&self.local, &self.other)
        } else {
            (&self.other, &self.local)
        };
        first.pick(cx).or_else(|| second.pick(cx))
    }

    fn score(&self, _candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        self.local
            .score(cx, index)
            .or_else(|| self.other.score(cx, index))
    }

    fn times_requests(&self) -> bool {
        self.local.times_requests()
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let rules = common_rules(candidates);
        let again = |group: &Group| group.refreshed(rules);
        Some(Arc::new(Self::new(again(&self.local), again(&self.other))))
    }
}
