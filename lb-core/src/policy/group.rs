//! A part of the members with a picker of its own.

use std::sync::Arc;

use crate::{
    candidates::{Candidates, Rules},
    pick::{PickCx, Picker},
    policy::Policy,
};

/// Some of the members, and the picker built for them.
#[derive(Debug)]
pub(crate) struct Group {
    candidates: Candidates,
    picker: Arc<dyn Picker>,
    /// The index among all members, by the index in here.
    all: Arc<[u32]>,
}

impl Group {
    pub(crate) fn new(
        candidates: &Candidates,
        members: impl Iterator<Item = usize>,
        rules: Rules,
        policy: &dyn Policy,
        random: u64,
    ) -> Self {
        let all: Arc<[u32]> = members.map(|index| index as u32).collect();
        let entries = all
            .iter()
            .map(|index| candidates.entries[*index as usize].clone())
            .collect();
        let candidates = Candidates::new(entries, rules);
        let picker = policy.build(&candidates, random);
        Self {
            candidates,
            picker,
            all,
        }
    }

    pub(crate) fn refreshed(&self, rules: Rules) -> Self {
        let candidates = Candidates::new(Arc::clone(&self.candidates.entries), rules);
        let picker = self
            .picker
            .refresh(&candidates)
            .unwrap_or_else(|| Arc::clone(&self.picker));
        Self {
            candidates,
            picker,
            all: Arc::clone(&self.all),
        }
    }

    pub(crate) fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// The pick as an index among all members.
    #[inline]
    pub(crate) fn pick(&self, cx: &PickCx<'_>) -> Option<usize> {
        self.picker
            .pick(&self.candidates, cx)
            .map(|index| self.all[index] as usize)
    }

    /// The score of a member of this group; `None` if it is none.
    pub(crate) fn score(&self, cx: &PickCx<'_>, index: usize) -> Option<f64> {
        let within = self.all.binary_search(&(index as u32)).ok()?;
        self.picker.score(&self.candidates, cx, within)
    }

    pub(crate) fn times_requests(&self) -> bool {
        self.picker.times_requests()
    }

    /// How many are available, and how many could be.
    pub(crate) fn health(&self) -> (usize, usize) {
        (self.candidates.healthy(), self.candidates.len())
    }
}
