//! Changes that were made, for policies that look back over a period.

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// At most this many changes are remembered per direction: one a second for the longest period.
const MAX_EVENTS: usize = 1_800;

/// One change of the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleEvent {
    /// By how many replicas.
    pub change: u32,
    /// When.
    pub at: UnixMillis,
    /// Too old for every policy: its place is free.
    #[serde(default)]
    pub outdated: bool,
}

/// The changes in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScaleEvents(pub Vec<ScaleEvent>);

impl ScaleEvents {
    /// Replicas changed within the last `period_seconds`, the far end excluded.
    #[must_use]
    pub fn change_within(&self, period_seconds: u32, now: UnixMillis) -> u32 {
        let period = i64::from(period_seconds) * 1_000;
        self.0
            .iter()
            .filter(|event| now.age_of(event.at) < period)
            .fold(0, |sum, event| sum.saturating_add(event.change))
    }

    /// Records a change in the place of the last outdated entry, if there is one.
    pub fn record(&mut self, change: u32, longest_period_seconds: u32, now: UnixMillis) {
        let longest = i64::from(longest_period_seconds) * 1_000;
        let mut free = None;
        for (index, event) in self.0.iter_mut().enumerate() {
            event.outdated |= now.age_of(event.at) > longest;
            if event.outdated {
                free = Some(index);
            }
        }
        let event = ScaleEvent {
            change,
            at: now,
            outdated: false,
        };
        match free {
            Some(index) => self.0[index] = event,
            None if self.0.len() >= MAX_EVENTS => {
                self.0.remove(0);
                self.0.push(event);
            }
            None => self.0.push(event),
        }
    }
}
