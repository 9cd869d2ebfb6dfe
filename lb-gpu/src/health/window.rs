//! How much time, out of the last so much, was spent in a state?

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A sliding sum of durations. Bounded by the window: one entry per reading.
#[derive(Debug, Default)]
pub(super) struct SlidingTime {
    entries: VecDeque<(Instant, Duration)>,
    sum: Duration,
}

impl SlidingTime {
    /// Adds `held` ending at `now`, forgets what is older than `window`, and
    /// returns what is left.
    pub(super) fn add(&mut self, held: Duration, window: Duration, now: Instant) -> Duration {
        if !held.is_zero() {
            self.entries.push_back((now, held));
            self.sum += held;
        }
        while let Some((at, held)) = self.entries.front().copied()
            && now.saturating_duration_since(at) > window
        {
            self.entries.pop_front();
            self.sum -= held;
        }
        self.sum
    }
}
