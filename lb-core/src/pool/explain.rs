//! Why a request would go where it would go.

use std::fmt;

use crate::{
    candidates::Candidates,
    endpoint::{Cause, EndpointId},
    pick::PickCx,
    pool::snapshot::Snapshot,
};

/// Who would be picked and why. [`Display`](fmt::Display) tells it as text.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// Name of the policy.
    pub policy: String,
    /// The endpoint that would be picked.
    pub chosen: Option<EndpointId>,
    /// So few endpoints are healthy that health is overlooked.
    pub panicking: bool,
    /// Every member, in the order of their names.
    pub opinions: Vec<Opinion>,
}

/// What speaks for or against one member.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Opinion {
    /// The member.
    pub id: EndpointId,
    /// The policy's score, lower is better; `None` if it does not compare.
    pub score: Option<f64>,
    /// Why it cannot take this request; empty for a candidate.
    pub excluded: Vec<Exclusion>,
}

/// Why a member cannot take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Exclusion {
    /// A reason that stands against it for every request.
    Cause(Cause),
    /// Its weight is zero.
    NoWeight,
    /// As many requests in flight as it takes at most.
    Full,
    /// This request tried it before.
    Tried,
    /// It is new, and slow start leaves it out of this pick.
    SlowStart,
}

pub(crate) fn of(snapshot: &Snapshot, cx: &PickCx<'_>) -> Explanation {
    let cx = cx.peek();
    let candidates = &snapshot.candidates;
    let chosen = snapshot.picker.pick(candidates, &cx);
    let opinion = |index: usize| Opinion {
        id: candidates.endpoint(index).id().clone(),
        score: snapshot.picker.score(candidates, &cx, index),
        excluded: exclusions(candidates, &cx, index),
    };
    Explanation {
        policy: snapshot.policy.clone(),
        chosen: chosen.map(|index| candidates.endpoint(index).id().clone()),
        panicking: candidates.is_panicking(),
        opinions: (0..candidates.len()).map(opinion).collect(),
    }
}

fn exclusions(candidates: &Candidates, cx: &PickCx<'_>, index: usize) -> Vec<Exclusion> {
    let entry = &candidates.entries[index];
    let counts = |cause: &Cause| entry.stats.has(*cause) && candidates.counts(*cause);
    let mut all: Vec<_> = Cause::ALL
        .into_iter()
        .filter(counts)
        .map(Exclusion::Cause)
        .collect();
    if entry.weight == 0 {
        all.push(Exclusion::NoWeight);
    }
    if entry.stats.in_flight() >= entry.room {
        all.push(Exclusion::Full);
    }
    if cx.tried.contains(entry.endpoint.id()) {
        all.push(Exclusion::Tried);
    }
    if all.is_empty() && !candidates.admits(index, cx) {
        all.push(Exclusion::SlowStart);
    }
    all
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.chosen {
            Some(id) => write!(f, "{} picks {id}", self.policy)?,
            None => write!(f, "{} finds nobody", self.policy)?,
        }
        if self.panicking {
            f.write_str(" (panicking: health is overlooked)")?;
        }
        for opinion in &self.opinions {
            write!(f, "\n  {}:", opinion.id)?;
            match opinion.score {
                Some(score) => write!(f, " score {score:.4}")?,
                None => f.write_str(" no score")?,
            }
            for exclusion in &opinion.excluded {
                write!(f, ", {exclusion:?}")?;
            }
        }
        Ok(())
    }
}
