//! What to ask, how often, and how many answers decide.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::probe::Probe;
use super::prober::HealthChecks;
use super::state::Thresholds;
use crate::clock::bounded;
use crate::error::ConfigError;
use crate::pool::Pool;

/// A health check under construction; see the [module](super).
#[derive(Clone)]
pub struct HealthCheck {
    pub(super) probe: Arc<dyn Probe>,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    pub(super) thresholds: Thresholds,
}

impl HealthCheck {
    /// Asks by `probe`, with the defaults of the module's table.
    #[must_use]
    pub fn new(probe: impl Probe) -> Self {
        Self {
            probe: Arc::new(probe),
            every: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            thresholds: Thresholds::default(),
        }
    }

    /// Pause between two probes of one endpoint, ± 10 %. Default: 30 s.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = bounded(every);
        self
    }

    /// Time for one answer. Default: 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = bounded(timeout);
        self
    }

    /// Successes in a row that bring an endpoint back. Default: 2.
    #[must_use]
    pub fn rise(mut self, successes: u32) -> Self {
        self.thresholds.rise = successes;
        self
    }

    /// Failures in a row that take an endpoint out. Default: 3.
    #[must_use]
    pub fn fall(mut self, failures: u32) -> Self {
        self.thresholds.fall = failures;
        self
    }

    /// Checks the endpoints of `pool` until the handle or the pool is dropped.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] if a duration or a threshold is zero,
    /// [`ConfigError::NoRuntime`] outside of a tokio runtime.
    pub fn start(&self, pool: &Pool) -> Result<HealthChecks, ConfigError> {
        self.check()?;
        HealthChecks::start(self.clone(), pool)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("health every", !self.every.is_zero()),
            ("health timeout", !self.timeout.is_zero()),
            ("health rise", self.thresholds.rise > 0),
            ("health fall", self.thresholds.fall > 0),
        ];
        match positive.iter().find(|(_, holds)| !holds) {
            Some((what, _)) => Err(ConfigError::Range {
                what,
                must: "above zero",
            }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for HealthCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HealthCheck")
            .field("every", &self.every)
            .field("timeout", &self.timeout)
            .field("thresholds", &self.thresholds)
            .finish_non_exhaustive()
    }
}
