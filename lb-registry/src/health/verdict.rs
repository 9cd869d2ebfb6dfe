//! Is this machine too busy? Samples in, verdict out, without flapping.
//!
//! A value at or above its limit is a strike. Three strikes in a row make the verdict unhealthy, two good
//! samples in a row make it healthy again. What is not known is no strike.
//!
//! ```
//! use lb_registry::health::verdict::{Thresholds, Usage, Verdict};
//!
//! let mut verdict = Verdict::new(Thresholds::default());
//! let busy = Usage { cpu_percent: Some(97.0), ..Usage::default() };
//! for _ in 0..2 {
//!     verdict.observe(busy);
//! }
//! assert!(verdict.is_healthy()); // a short peak
//! verdict.observe(busy);
//! assert!(!verdict.is_healthy());
//! ```

use serde::Serialize;

const STRIKES: u8 = 3;
const GOOD: u8 = 2;

/// How busy a machine is, each from 0 to 100; `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// All cores together, or the share of the cgroup's quota.
    pub cpu_percent: Option<f64>,
    /// Memory that is not available, or the share of the cgroup's limit.
    pub memory_percent: Option<f64>,
    /// The fullest of the watched disks.
    pub disk_percent: Option<f64>,
}

/// Limits in per cent; at or above is too much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// Default: 90.
    pub cpu_percent: f64,
    /// Default: 90.
    pub memory_percent: f64,
    /// Default: 90.
    pub disk_percent: f64,
}

/// The latest sample and what it amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    thresholds: Thresholds,
    latest: Usage,
    unhealthy: bool,
    streak: u8,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            cpu_percent: 90.0,
            memory_percent: 90.0,
            disk_percent: 90.0,
        }
    }
}

impl Thresholds {
    /// `true` if some value is at or above its limit.
    #[must_use]
    pub fn exceeded_by(&self, usage: &Usage) -> bool {
        let over = |value: Option<f64>, limit: f64| value.is_some_and(|value| value >= limit);
        over(usage.cpu_percent, self.cpu_percent)
            || over(usage.memory_percent, self.memory_percent)
            || over(usage.disk_percent, self.disk_percent)
    }
}

impl Verdict {
    /// Healthy until proven otherwise.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            ..Self::default()
        }
    }

    /// Takes in a sample.
    pub fn observe(&mut self, usage: Usage) {
        self.latest = usage;
        if self.thresholds.exceeded_by(&usage) == self.unhealthy {
            self.streak = 0;
            return;
        }
        self.streak += 1;
        if self.streak >= if self.unhealthy { GOOD } else { STRIKES } {
            self.unhealthy = !self.unhealthy;
            self.streak = 0;
        }
    }

    /// The verdict.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.unhealthy
    }

    /// The latest sample.
    #[must_use]
    pub fn latest(&self) -> Usage {
        self.latest
    }

    /// The limits.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(percent: f64) -> Usage {
        Usage {
            cpu_percent: Some(percent),
            ..Usage::default()
        }
    }

    #[test]
    fn exactly_the_limit_is_too_much() {
        assert!(Thresholds::default().exceeded_by(&cpu(90.0)));
        assert!(!Thresholds::default().exceeded_by(&cpu(89.9)));
    }

    #[test]
    fn what_is_unknown_is_no_strike() {
        assert!(!Thresholds::default().exceeded_by(&Usage::default()));
    }

    #[test]
    fn one_good_sample_does_not_heal() {
        let mut verdict = Verdict::default();
        for percent in [95.0; 3] {
            verdict.observe(cpu(percent));
        }
        verdict.observe(cpu(10.0));
        assert!(!verdict.is_healthy());
        verdict.observe(cpu(10.0));
        assert!(verdict.is_healthy());
    }

    #[test]
    fn strikes_count_only_in_a_row() {
        let mut verdict = Verdict::default();
        for percent in [95.0, 95.0, 10.0, 95.0, 95.0] {
            verdict.observe(cpu(percent));
        }
        assert!(verdict.is_healthy());
    }
}
