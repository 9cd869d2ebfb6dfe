//! What can be switched and tuned while requests flow.

use std::{sync::Arc, time::Duration};

use crate::{
    breaker::{CircuitBreaker, UpstreamLimits},
    clock,
    error::ConfigError,
    health::HealthCheck,
    outlier::OutlierDetection,
    pool::Pool,
};

impl Pool {
    /// Probes with this check from now on; `None` ends the probes and takes their
    /// verdicts back.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work, or outside of a tokio runtime; nothing
    /// changes then.
    pub fn set_health(&self, check: Option<HealthCheck>) -> Result<(), ConfigError> {
        let _change = self.shared.settings();
        match (check, self.health()) {
            (Some(check), Some(running)) => running.set(check)?,
            (Some(check), None) => self.shared.health.store(Some(Arc::new(check.start(self)?))),
            (None, _) => self.shared.health.store(None),
        }
        Ok(())
    }

    /// Ejects outliers by these rules from now on; `None` ends that and lets all back.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work, or outside of a tokio runtime; nothing
    /// changes then.
    pub fn set_outlier(&self, detection: Option<OutlierDetection>) -> Result<(), ConfigError> {
        let _change = self.shared.settings();
        match (detection, self.outlier()) {
            (Some(detection), Some(running)) => running.set(detection)?,
            (Some(detection), None) => {
                let detector = detection.start(self)?;
                self.shared.outlier.store(Some(Arc::new(detector)));
            }
            (None, _) => self.shared.outlier.store(None),
        }
        Ok(())
    }

    /// Switches the circuit breaker on, over, or off (`None`: every circuit closes).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting cannot work, or outside of a tokio runtime; nothing
    /// changes then.
    pub fn set_breaker(&self, breaker: Option<CircuitBreaker>) -> Result<(), ConfigError> {
        self.shared.circuits.set(self, breaker)
    }

    /// The circuit breaker's settings, while it is on.
    #[must_use]
    pub fn breaker(&self) -> Option<CircuitBreaker> {
        self.shared.circuits.config()
    }

    /// How much the upstream and each endpoint take from now on; requests that are in
    /// flight stay, and those of an upstream without a limit before are not counted.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] if a limit is zero; nothing changes then.
    pub fn set_limits(&self, limits: UpstreamLimits) -> Result<(), ConfigError> {
        limits.check()?;
        let mut change = self.shared.change();
        self.shared.gauges.set(limits);
        self.shared.rebuild(&mut change);
        Ok(())
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> UpstreamLimits {
        self.shared.gauges.limits()
    }

    /// The share of healthy endpoints below which their health is overlooked from
    /// now on, see [`PoolBuilder::panic_threshold`](super::PoolBuilder::panic_threshold).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] if it is no share; nothing changes then.
    pub fn set_panic_threshold(&self, share: f64) -> Result<(), ConfigError> {
        let mut change = self.shared.change();
        let mut rules = change.rules;
        rules.panic_threshold = share;
        rules.check()?;
        change.rules = rules;
        self.shared.rebuild(&mut change);
        Ok(())
    }

    /// How long new and recovered endpoints take to grow into their share from now
    /// on, see [`PoolBuilder::slow_start`](super::PoolBuilder::slow_start).
    pub fn set_slow_start(&self, within: Duration) {
        let mut change = self.shared.change();
        change.rules.slow_start = clock::bounded(within);
        self.shared.rebuild(&mut change);
    }
}
