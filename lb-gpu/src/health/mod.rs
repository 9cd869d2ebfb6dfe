//! Is this device fit for work, and if not, why and since when?
//!
//! Three verdicts. [`Verdict::Healthy`] takes its full share of traffic.
//! [`Verdict::Degraded`] works, but slower or on borrowed time: it takes a
//! smaller share and wants to be drained at the next occasion.
//! [`Verdict::Unfit`] must get nothing. Each [`Health`] names its
//! [`Cause`] and the moment since when it holds.
//!
//! | signal | verdict |
//! |---|---|
//! | missing, lost, reset required | unfit |
//! | the driver recommends reset, reboot, drain and reset, or something newer | unfit |
//! | XID 48, 62, 64, 74, 79, 95, 119, 120 | unfit |
//! | row remapping failed; new uncorrected memory errors | unfit |
//! | the driver recommends draining peer-to-peer traffic | degraded |
//! | row remapping pending; XID 63, 92, 94 | degraded |
//! | hardware slowdown, heat or power brake for 10 s out of 30 s | degraded, by the clock that is left |
//! | software thermal slowdown for 20 s out of 30 s | degraded, by the clock that is left |
//! | any other XID: an application's fault | nothing; five within a minute: degraded |
//! | software power cap | nothing: normal under full load |
//!
//! Every list and limit is in [`HealthPolicy`]; the lists follow NVIDIA's XID
//! catalogue and what operators report about the Kubernetes device plugin.
//!
//! Getting worse is immediate. Getting better takes an unbroken minute of good
//! readings, so no device flaps more than once a minute, and none stays out
//! until somebody restarts a program. [`HealthTracker::clear`] is the way for a
//! human who knows better.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_gpu::health::{Cause, HealthPolicy, HealthTracker, Sign, Verdict};
//!
//! # #[expect(clippy::disallowed_methods)]
//! let start = Instant::now();
//! let policy = HealthPolicy::default();
//! let mut device = HealthTracker::new(start);
//! device.observe(&policy, &Sign::Missing, &[], start);
//! assert_eq!(device.health().verdict, Verdict::Unfit);
//! assert_eq!(device.health().cause, Some(Cause::Missing));
//! ```

mod policy;
mod track;
mod window;

use std::fmt;
use std::time::Instant;

pub use policy::{HealthPolicy, XidClass};
pub use track::{HealthTracker, Sign};

use crate::ratio::Ratio;
use crate::reading::{RecoveryAction, ThrottleReason};

/// Fit for work? Ordered: worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Verdict {
    /// Takes its full share.
    Healthy,
    /// Takes a smaller share, and wants to be drained.
    Degraded,
    /// Gets nothing.
    Unfit,
}

/// A verdict with its reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// Fit for work?
    pub verdict: Verdict,
    /// What speaks against it; `None` when healthy.
    pub cause: Option<Cause>,
    /// Since when this verdict holds.
    pub since: Instant,
    /// Share of its normal traffic that it should get.
    pub weight: Ratio,
}

/// What speaks against a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Cause {
    /// It was there and is not any more.
    Missing,
    /// It fell off the bus.
    Lost,
    /// It wants a reset.
    ResetRequired,
    /// The driver recommends something.
    RecoveryAction(RecoveryAction),
    /// An XID error.
    Xid(u64),
    /// No spare memory rows are left.
    RemapFailed,
    /// Memory rows wait for a reset to be replaced.
    RemapPending,
    /// New memory errors that could not be corrected.
    UncorrectedErrors,
    /// Clocks are held down for too long.
    Throttled(ThrottleReason),
    /// Applications crash on it again and again.
    ApplicationErrors,
}

impl Verdict {
    /// The verdict as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unfit => "unfit",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Lost => f.write_str("fell off the bus"),
            Self::ResetRequired => f.write_str("wants a reset"),
            Self::RecoveryAction(action) => write!(f, "driver recommends {action:?}"),
            Self::Xid(number) => write!(f, "XID {number}"),
            Self::RemapFailed => f.write_str("row remapping failed"),
            Self::RemapPending => f.write_str("row remapping pending"),
            Self::UncorrectedErrors => f.write_str("uncorrected memory errors"),
            Self::Throttled(reason) => write!(f, "throttled: {}", reason.label()),
            Self::ApplicationErrors => f.write_str("repeated application errors"),
        }
    }
}
