//! A second policy on live traffic that decides nothing.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    candidates::{Candidates, Entry, Rules},
    endpoint::{EndpointId, Fleet, Outcome, Stats, observers::Observers, stamped::Moment},
    pick::{PickCx, Picker},
    policy::{Policy, PolicyConfig},
};

/// How a shadow policy would have shared the traffic since it was set.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShadowReport {
    /// Name of the shadow policy.
    pub policy: String,
    /// The members in the order of their names.
    pub endpoints: Vec<ShadowShare>,
}

/// One member under both policies.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShadowShare {
    /// The member.
    pub id: EndpointId,
    /// Picks of the pool's policy since the shadow was set.
    pub picks: u64,
    /// Picks of the shadow policy.
    pub shadow_picks: u64,
    /// Requests in flight.
    pub in_flight: u32,
    /// Requests that would be in flight, if each took as long as it does.
    pub shadow_in_flight: u32,
}

/// The shadow's own counters; they outlive rebuilds as the real ones do.
#[derive(Debug)]
pub(crate) struct Shadow {
    policy: PolicyConfig,
    fleet: Arc<Fleet>,
    known: BTreeMap<EndpointId, Known>,
}

#[derive(Debug)]
struct Known {
    /// Whose double this is: a restarted endpoint gets a new one.
    real: Arc<Stats>,
    picks_before: u64,
    double: Arc<Stats>,
}

impl Shadow {
    pub(crate) fn new(policy: PolicyConfig, fleet: &Fleet) -> Self {
        // Of the same start: both count one time.
        let (start, decay) = (fleet.start(), fleet.latency_decay);
        let fleet = Arc::new(Fleet::new(start, decay, Observers::default()));
        Self {
            policy,
            fleet,
            known: BTreeMap::new(),
        }
    }

    /// A picker over doubles of these entries.
    pub(crate) fn build(&mut self, entries: &[Entry], rules: Rules, now: Instant) -> ShadowPick {
        self.known.retain(|id, known| {
            entries
                .iter()
                .any(|entry| entry.endpoint.id() == id && Arc::ptr_eq(&entry.stats, &known.real))
        });
        let doubles: Arc<[Entry]> = entries
            .iter()
            .map(|entry| self.double(entry, now))
            .collect();
        let candidates = Candidates::new(doubles, rules);
        let picker = self.policy.build(&candidates, fastrand::u64(..));
        ShadowPick {
            candidates,
            picker,
            policy: self.policy.name().to_owned(),
        }
    }

    fn double(&mut self, entry: &Entry, now: Instant) -> Entry {
        let fleet = &self.fleet;
        let known = self
            .known
            .entry(entry.endpoint.id().clone())
            .or_insert_with(|| Known {
                real: Arc::clone(&entry.stats),
                picks_before: entry.stats.picks_total(),
                double: Arc::new(Stats::new(entry.stats.causes(), now, fleet)),
            });
        Entry {
            stats: Arc::clone(&known.double),
            ..entry.clone()
        }
    }

    pub(crate) fn report(&self) -> ShadowReport {
        let share = |(id, known): (&EndpointId, &Known)| ShadowShare {
            id: id.clone(),
            picks: known.real.picks_total().saturating_sub(known.picks_before),
            shadow_picks: known.double.picks_total(),
            in_flight: known.real.in_flight(),
            shadow_in_flight: known.double.in_flight(),
        };
        ShadowReport {
            policy: self.policy.name().to_owned(),
            endpoints: self.known.iter().map(share).collect(),
        }
    }
}

/// The shadow's part of a snapshot.
pub(crate) struct ShadowPick {
    candidates: Candidates,
    picker: Arc<dyn Picker>,
    policy: String,
}

impl ShadowPick {
    /// The same with the health of the real endpoints as it is now.
    pub(crate) fn refreshed(&self, real: &Candidates, now: Instant) -> Self {
        for (double, entry) in self.candidates.entries.iter().zip(real.entries.iter()) {
            let causes = entry.stats.causes();
            double.stats.set_causes(!causes, false, now);
            double.stats.set_causes(causes, true, now);
        }
        let candidates = self.candidates.refreshed();
        let picker = self
            .picker
            .refresh(&candidates)
            .unwrap_or_else(|| Arc::clone(&self.picker));
        Self {
            candidates,
            picker,
            policy: self.policy.clone(),
        }
    }

    /// What the shadow would do, counted at its double; `real` is where the
    /// request goes, by index.
    pub(crate) fn pick(&self, cx: &PickCx<'_>, real: usize) -> Option<ShadowLease> {
        let index = self.picker.pick(&self.candidates, cx)?;
        let chosen = Arc::clone(&self.candidates.entries[index].stats);
        chosen.enter(0, u32::MAX, Some(self.candidates.moment(cx)));
        Some(ShadowLease {
            chosen,
            real: Arc::clone(&self.candidates.entries.get(real)?.stats),
            answered: false,
        })
    }
}

/// One request as the shadow sees it.
pub(crate) struct ShadowLease {
    chosen: Arc<Stats>,
    /// The double of where the request really went: only of that one an answer
    /// time is learned.
    real: Arc<Stats>,
    answered: bool,
}

impl ShadowLease {
    pub(crate) fn answer(&mut self) {
        self.chosen.answer();
        self.answered = true;
    }

    pub(crate) fn learn(&self, outcome: Outcome, seconds: Option<f64>, now: Moment) {
        self.real.learn(outcome, seconds, now);
    }
}

impl Drop for ShadowLease {
    fn drop(&mut self) {
        self.chosen.leave(self.answered);
    }
}
