//! Stabilization windows: what was proposed lately holds the count back.

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// At most this many proposals are remembered: an hour at two a second.
const MAX_RECOMMENDATIONS: usize = 7_200;

/// One remembered proposal, as it was before any limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Replicas proposed.
    pub replicas: u32,
    /// When.
    pub at: UnixMillis,
}

/// The proposals of the last windows. Entries that are too old for every
/// window are overwritten in place, so the list stays as long as the windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recommendations(pub Vec<Recommendation>);

impl Recommendations {
    /// Without a behavior block: the highest proposal of the last
    /// `window_seconds`, the window's far end included.
    pub fn stabilize_legacy(&mut self, proposed: u32, window_seconds: u32, now: UnixMillis) -> u32 {
        let window = millis(window_seconds);
        let mut highest = proposed;
        let mut outdated = None;
        for (index, entry) in self.0.iter().enumerate() {
            if now.age_of(entry.at) > window {
                outdated = Some(index);
            } else {
                highest = highest.max(entry.replicas);
            }
        }
        self.remember(outdated, proposed, now);
        highest
    }

    /// With a behavior block: `current`, moved as little as the lowest proposal
    /// of the up window and the highest of the down window demand.
    pub fn stabilize(
        &mut self,
        current: u32,
        proposed: u32,
        up_window_seconds: u32,
        down_window_seconds: u32,
        now: UnixMillis,
    ) -> u32 {
        let (up_window, down_window) = (millis(up_window_seconds), millis(down_window_seconds));
        let (mut lowest, mut highest) = (proposed, proposed);
        let mut outdated = None;
        for (index, entry) in self.0.iter().enumerate() {
            let age = now.age_of(entry.at);
            if age < up_window {
                lowest = lowest.min(entry.replicas);
            }
            if age < down_window {
                highest = highest.max(entry.replicas);
            }
            if age > up_window && age > down_window {
                outdated = Some(index);
            }
        }
        self.remember(outdated, proposed, now);
        current.max(lowest).min(highest)
    }

    fn remember(&mut self, outdated: Option<usize>, replicas: u32, at: UnixMillis) {
        let entry = Recommendation { replicas, at };
        match outdated {
            Some(index) => self.0[index] = entry,
            None if self.0.len() >= MAX_RECOMMENDATIONS => {
                self.0.remove(0);
                self.0.push(entry);
            }
            None => self.0.push(entry),
        }
    }
}

fn millis(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000
}
