//! Folds the signs of one device into its verdict.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::window::SlidingTime;
use super::{Cause, Health, HealthPolicy, Verdict, XidClass};
use crate::ratio::Ratio;
use crate::reading::{DeviceFault, Metrics, RecoveryAction, ThrottleReason};

/// Share of its traffic that a degraded device keeps, unless its clocks say otherwise.
const DEGRADED_WEIGHT: f64 = 0.5;
/// A throttled device keeps at least this share: it still works.
const SMALLEST_WEIGHT: f64 = 0.1;

/// What one look said about a device.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Sign<'a> {
    /// It was not there.
    Missing,
    /// It answered that it is broken.
    Fault(DeviceFault),
    /// It answered.
    Answer(&'a Metrics),
}

/// The verdict on one device, and what is needed to change it.
#[derive(Debug)]
pub struct HealthTracker {
    health: Health,
    /// Start of the present run of readings that are better than the verdict.
    better: Option<Run>,
    seen: Instant,
    uncorrected_errors: Option<u64>,
    throttled: [SlidingTime; THROTTLES.len()],
    application_errors: VecDeque<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    since: Instant,
    last: Instant,
}

/// What speaks against a device right now.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Finding {
    verdict: Verdict,
    cause: Cause,
    weight: f64,
}

/// Throttle reasons that can degrade.
const THROTTLES: [ThrottleReason; 4] = [
    ThrottleReason::HwSlowdown,
    ThrottleReason::HwThermal,
    ThrottleReason::HwPowerBrake,
    ThrottleReason::SwThermal,
];

// === impl HealthTracker ===

impl HealthTracker {
    /// A device is healthy until something speaks against it.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            health: Health::healthy(now),
            better: None,
            seen: now,
            uncorrected_errors: None,
            throttled: Default::default(),
            application_errors: VecDeque::new(),
        }
    }

    /// The verdict as of the last observation.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes in one look, with the XID numbers reported since the last one.
    pub fn observe(&mut self, policy: &HealthPolicy, sign: &Sign<'_>, xids: &[u64], now: Instant) {
        let elapsed = now
            .saturating_duration_since(self.seen)
            .min(policy.longest_gap);
        self.seen = now;
        let by_xid = self.judge_xids(policy, xids, now);
        let by_sign = match sign {
            Sign::Missing => Some(Finding::unfit(Cause::Missing)),
            Sign::Fault(DeviceFault::Lost) => Some(Finding::unfit(Cause::Lost)),
            Sign::Fault(DeviceFault::ResetRequired) => Some(Finding::unfit(Cause::ResetRequired)),
            Sign::Answer(metrics) => {
                let findings = [
                    self.judge_throttling(policy, metrics, elapsed, now),
                    judge_state(metrics),
                    self.judge_errors(metrics),
                ];
                worst(findings)
            }
        };
        self.settle(worst([by_xid, by_sign]), policy, now);
    }

    /// Declares the device healthy, whatever came before: for a human who
    /// repaired it. What is still wrong shows again at the next look.
    pub fn clear(&mut self, now: Instant) {
        self.health = Health::healthy(now);
        self.better = None;
        self.application_errors.clear();
        self.throttled = Default::default();
    }

    /// Worse or equal counts at once; better has to last.
    fn settle(&mut self, finding: Option<Finding>, policy: &HealthPolicy, now: Instant) {
        let next = finding.map_or(Health::healthy(now), |finding| finding.health(now));
        if next.verdict > self.health.verdict {
            self.health = next;
            self.better = None;
            return;
        }
        if next.verdict == self.health.verdict {
            self.health = Health {
                since: self.health.since,
                ..next
            };
            self.better = None;
            return;
        }
        let run = match self.better {
            Some(run) if now.saturating_duration_since(run.last) <= policy.longest_gap => {
                Run { last: now, ..run }
            }
            _ => Run {
                since: now,
                last: now,
            },
        };
        self.better = Some(run);
        if now.saturating_duration_since(run.since) >= policy.recovery {
            self.health = next;
            self.better = None;
        }
    }

    fn judge_xids(&mut self, policy: &HealthPolicy, xids: &[u64], now: Instant) -> Option<Finding> {
        let window = policy.application_window;
        self.application_errors
            .retain(|at| now.saturating_duration_since(*at) <= window);
        let applications = xids
            .iter()
            .filter(|number| policy.class(**number) == XidClass::Application)
            .count();
        let room = policy
            .application_errors
            .saturating_sub(self.application_errors.len());
        self.application_errors
            .extend(std::iter::repeat_n(now, applications.min(room)));
        let too_many = policy.application_errors > 0
            && self.application_errors.len() >= policy.application_errors;
        let by_number = xids.iter().filter_map(|number| {
            let verdict = policy.class(*number).verdict()?;
            Some(Finding::new(verdict, Cause::Xid(*number)))
        });
        let by_count = too_many.then(|| Finding::degraded(Cause::ApplicationErrors));
        worst(by_number.map(Some).chain([by_count]))
    }

    fn judge_throttling(
        &mut self,
        policy: &HealthPolicy,
        metrics: &Metrics,
        elapsed: Duration,
        now: Instant,
    ) -> Option<Finding> {
        let throttle = metrics.throttle?;
        let weight = clock_share(metrics).unwrap_or(DEGRADED_WEIGHT);
        let findings = THROTTLES
            .iter()
            .zip(&mut self.throttled)
            .map(|(reason, time)| {
                let held = if throttle.has(*reason) {
                    elapsed
                } else {
                    Duration::ZERO
                };
                let limit = match reason {
                    ThrottleReason::SwThermal => policy.thermal_throttle,
                    _ => policy.hardware_throttle,
                };
                let too_long = time.add(held, policy.throttle_window, now) > limit;
                too_long.then(|| Finding {
                    weight,
                    ..Finding::degraded(Cause::Throttled(*reason))
                })
            });
        worst(findings)
    }

    /// Errors that grew since the last look. A counter that shrank was restarted
    /// with the driver.
    fn judge_errors(&mut self, metrics: &Metrics) -> Option<Finding> {
        let count = metrics.ecc.uncorrected_volatile?;
        let before = self.uncorrected_errors.replace(count);
        before
            .is_some_and(|before| count > before)
            .then(|| Finding::unfit(Cause::UncorrectedErrors))
    }
}

fn judge_state(metrics: &Metrics) -> Option<Finding> {
    let rows = metrics.remapped_rows;
    let by_rows = if rows.failed == Some(true) {
        Some(Finding::unfit(Cause::RemapFailed))
    } else if rows.pending == Some(true) {
        Some(Finding::degraded(Cause::RemapPending))
    } else {
        None
    };
    let by_advice = metrics.recovery_action.and_then(|action| match action {
        RecoveryAction::None => None,
        RecoveryAction::DrainP2p => Some(Finding::degraded(Cause::RecoveryAction(action))),
        _ => Some(Finding::unfit(Cause::RecoveryAction(action))),
    });
    worst([by_advice, by_rows])
}

/// What is left of the clock.
fn clock_share(metrics: &Metrics) -> Option<f64> {
    let share = Ratio::of(metrics.sm_clock_hertz?, metrics.sm_clock_max_hertz?)?;
    Some(share.get().max(SMALLEST_WEIGHT))
}

/// The worst finding; of equals, the first.
fn worst(findings: impl IntoIterator<Item = Option<Finding>>) -> Option<Finding> {
    findings.into_iter().flatten().reduce(|worst, next| {
        if next.verdict > worst.verdict {
            next
        } else {
            worst
        }
    })
}

// === impl Finding ===

impl Finding {
    fn new(verdict: Verdict, cause: Cause) -> Self {
        let weight = match verdict {
            Verdict::Healthy => 1.0,
            Verdict::Degraded => DEGRADED_WEIGHT,
            Verdict::Unfit => 0.0,
        };
        Self {
            verdict,
            cause,
            weight,
        }
    }

    fn unfit(cause: Cause) -> Self {
        Self::new(Verdict::Unfit, cause)
    }

    fn degraded(cause: Cause) -> Self {
        Self::new(Verdict::Degraded, cause)
    }

    fn health(self, now: Instant) -> Health {
        Health {
            verdict: self.verdict,
            cause: Some(self.cause),
            since: now,
            weight: Ratio::saturating(self.weight).unwrap_or_default(),
        }
    }
}

impl Health {
    fn healthy(now: Instant) -> Self {
        Self {
            verdict: Verdict::Healthy,
            cause: None,
            since: now,
            weight: Ratio::FULL,
        }
    }
}
