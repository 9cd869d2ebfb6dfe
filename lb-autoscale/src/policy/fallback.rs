//! What a metric that cannot be read asks for instead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;
use crate::decision::{Stage, Trace};
use crate::hpa::Proposal;
use crate::hpa::reconcile::Vote;
use crate::spec::{Fallback, Spec};
use crate::state::State;

/// When a metric last worked, and what it asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastSeen {
    good_at: Option<UnixMillis>,
    replicas: u32,
    failing_since: Option<UnixMillis>,
}

/// Lets the fallbacks of failed metrics speak; returns the floors among them.
pub(crate) fn stand_in(
    spec: &Spec,
    state: &mut State,
    votes: &mut [Vote],
    now: UnixMillis,
    trace: &mut Trace,
) -> Vec<Bound> {
    let memory = &mut state.memory.metrics;
    memory.retain(|id, _| spec.metrics().iter().any(|metric| metric.id == *id));
    let mut floors = Vec::new();
    for (metric, vote) in spec.metrics().iter().zip(votes) {
        if metric.fallback == Fallback::Hold {
            continue;
        }
        let seen = memory.entry(metric.id.clone()).or_default();
        if let Ok(proposal) = &vote.result {
            *seen = LastSeen {
                good_at: Some(now),
                replicas: proposal.replicas,
                failing_since: None,
            };
            continue;
        }
        let failing_since = *seen.failing_since.get_or_insert(now);
        let replicas = seen.replicas;
        match metric.fallback {
            Fallback::LastGood { for_seconds } if seen.is_fresh(for_seconds, now) => {
                let span = (replicas, replicas);
                trace.step(Stage::Note, metric.id.clone(), span, "LastGoodCounts", &[]);
                vote.result = Ok(Proposal {
                    replicas,
                    utilization_percent: None,
                    average: None,
                    total: None,
                });
            }
            Fallback::Floor {
                replicas,
                after_seconds,
            } if now.age_of(failing_since) >= i64::from(after_seconds) * 1_000 => {
                let name = format!("fallback of {}", metric.id);
                floors.push(Bound::floor(name, replicas, "MetricSilent"));
            }
            _ => {}
        }
    }
    floors
}

impl LastSeen {
    pub(super) fn move_back(&mut self, back: Duration) {
        for time in [&mut self.good_at, &mut self.failing_since]
            .into_iter()
            .flatten()
        {
            *time = *time - back;
        }
    }

    fn is_fresh(&self, for_seconds: u32, now: UnixMillis) -> bool {
        self.good_at
            .is_some_and(|at| now.age_of(at) <= i64::from(for_seconds) * 1_000)
    }
}
