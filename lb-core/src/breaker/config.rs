//! When a circuit opens, and for how long.

use std::time::Duration;

use crate::clock::bounded;
use crate::error::ConfigError;

/// A circuit breaker under construction; see the [module](super).
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    pub(super) failures: u32,
    pub(super) open_for: Duration,
    pub(super) longest: Duration,
    pub(super) retry_after: bool,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: Duration::from_secs(5),
            longest: Duration::from_secs(60),
            retry_after: false,
        }
    }
}

impl CircuitBreaker {
    /// Failures in a row that open a circuit; 429 and 503 are failures. Default: 5.
    #[must_use]
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// How long a circuit is open the first time, ± 10 %. Default: 5 s.
    #[must_use]
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = bounded(time);
        self
    }

    /// How long it is open at most, however many trials failed. Default: 60 s.
    #[must_use]
    pub fn longest(mut self, time: Duration) -> Self {
        self.longest = bounded(time);
        self
    }

    /// A 503 with `Retry-After` opens the circuit at once for as long as it says, at most
    /// [`longest`](Self::longest). For upstreams in which a 503 speaks for the whole
    /// endpoint and not for one path or client. Default: off.
    #[must_use]
    pub fn follow_retry_after(mut self) -> Self {
        self.retry_after = true;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let rules = [
            (
                "breaker consecutive_failures",
                "above zero",
                self.failures > 0,
            ),
            ("breaker open_for", "above zero", !self.open_for.is_zero()),
            (
                "breaker longest",
                "at least open_for",
                self.longest >= self.open_for,
            ),
        ];
        match rules.into_iter().find(|(.., holds)| !holds) {
            Some((what, must, _)) => Err(ConfigError::Range { what, must }),
            None => Ok(()),
        }
    }
}
