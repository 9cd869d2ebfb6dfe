//! Only endpoints with certain facts.

use std::sync::Arc;

use crate::{
    candidates::Candidates,
    error::ConfigError,
    pick::{PickCx, Picker, next_bits},
    policy::{Policy, PolicyConfig, group::Group},
};

/// What becomes of a request whose subset has no endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum SubsetFallback {
    /// It goes to anybody.
    #[default]
    Any,
    /// It goes nowhere.
    None,
}

/// Splits the members by facts (their metadata); a request names the facts it
/// needs with [`PickCx::subset`] and gets an endpoint that has them. A request
/// that names none may go to anybody; one that names some of the facts goes to the
/// subsets that have those, to each by the weight that is available there. Within a
/// subset another policy chooses.
///
/// Subsets are built in advance, one per combination of values; the look-up
/// compares them in turn.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Subset {
    /// The facts that tell subsets apart.
    pub keys: Vec<String>,
    /// What becomes of a request without a subset. Default: anybody.
    pub fallback: SubsetFallback,
    /// The policy within each subset. Default: least request.
    pub within: Box<PolicyConfig>,
}

impl Subset {
    /// Subsets by these facts; `policy` chooses within.
    pub fn by<K: Into<String>>(
        keys: impl IntoIterator<Item = K>,
        policy: impl Into<PolicyConfig>,
    ) -> Self {
        Self {
            keys: keys.into_iter().map(Into::into).collect(),
            fallback: SubsetFallback::Any,
            within: Box::new(policy.into()),
        }
    }

    /// What becomes of a request whose subset has no endpoint. Default: anybody.
    #[must_use]
    pub fn fallback(mut self, fallback: SubsetFallback) -> Self {
        self.fallback = fallback;
        self
    }
}

impl Policy for Subset {
    fn name(&self) -> &str {
        "subset"
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.within.check()
    }

    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        let values_of = |index: usize| -> Option<Vec<String>> {
            let facts = candidates.endpoint(index).metadata();
            self.keys
                .iter()
                .map(|key| facts.get(key).cloned())
                .collect()
        };
        let mut all: Vec<_> = (0..candidates.len()).filter_map(values_of).collect();
        all.sort_unstable();
        all.dedup();
        let group = |members: &mut dyn Iterator<Item = usize>| {
            Group::new(candidates, members, candidates.rules, &*self.within, random)
        };
        let part = |values: Vec<String>| {
            let of = |index: &usize| values_of(*index).as_ref() == Some(&values);
            let group = group(&mut (0..candidates.len()).filter(of));
            Part::new(values.into(), group)
        };
        Arc::new(SubsetPicker {
            keys: self.keys.clone().into(),
            fallback: self.fallback,
            parts: all.into_iter().map(part).collect(),
            everybody: group(&mut (0..candidates.len())),
        })
    }
}

#[derive(Debug)]
struct SubsetPicker {
    keys: Arc<[String]>,
    fallback: SubsetFallback,
    parts: Vec<Part>,
    everybody: Group,
}

/// The endpoints with the same values.
#[derive(Debug)]
struct Part {
    values: Arc<[String]>,
    group: Group,
    /// Of those that are available.
    weight: u64,
}

impl Part {
    fn new(values: Arc<[String]>, group: Group) -> Self {
        let members = group.candidates();
        let weights = members.available().iter();
        let weight = weights.map(|index| u64::from(members.weight(*index as usize)));
        Self {
            weight: weight.sum(),
            values,
            group,
        }
    }
}

impl SubsetPicker {
    fn matches(&self, values: &[String], wanted: &[(&str, &str)]) -> bool {
        let has = |(key, value): &(&str, &str)| {
            self.keys
                .iter()
                .zip(values)
                .any(|(own_key, own)| own_key == key && own == value)
        };
        wanted.iter().all(has)
    }

    /// The parts that have the facts a request names.
    fn matching<'a>(&'a self, cx: &PickCx<'_>) -> impl Iterator<Item = &'a Part> {
        let parts = self.parts.iter();
        parts.filter(move |part| self.matches(&part.values, cx.subset))
    }

    /// One of them by weight: the same for the same key.
    fn drawn<'a>(&'a self, cx: &PickCx<'_>) -> Option<&'a Part> {
        let total: u64 = self.matching(cx).map(|part| part.weight).sum();
        let bits = u128::from(next_bits(&mut cx.key().rotate_left(48)));
        let mut lot = ((bits * u128::from(total)) >> 32) as u64;
        self.matching(cx).find(|part| {
            let here = lot < part.weight;
            lot = lot.saturating_sub(part.weight);
            here
        })
    }
}

impl Picker for SubsetPicker {
    fn pick(&self, _candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        if cx.subset.is_empty() {
            return self.everybody.pick(cx);
        }
        let found = self
            .drawn(cx)
            .and_then(|part| part.group.pick(cx))
            .or_else(|| self.matching(cx).find_map(|part| part.group.pick(cx)));
        match self.fallback {
            SubsetFallback::Any => found.or_else(|| self.everybody.pick(cx)),
            SubsetFallback::None => found,
        }
    }

    fn score(&self, _candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        self.everybody.score(cx, index)
    }

    fn times_requests(&self) -> bool {
        self.everybody.times_requests()
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let again = |group: &Group| group.refreshed(candidates.rules);
        Some(Arc::new(Self {
            keys: Arc::clone(&self.keys),
            fallback: self.fallback,
            parts: self
                .parts
                .iter()
                .map(|part| Part::new(Arc::clone(&part.values), again(&part.group)))
                .collect(),
            everybody: again(&self.everybody),
        }))
    }
}
