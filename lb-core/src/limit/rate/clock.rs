//! governor's clock, as the time since the limiter was made.

use std::time::{Duration, Instant};

use governor::clock::Clock;

/// Reads this crate's clock, which tests can pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct SinceStart(Instant);

impl SinceStart {
    pub(super) fn new() -> Self {
        Self(crate::clock::now())
    }
}

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        crate::clock::now().saturating_duration_since(self.0)
    }
}
