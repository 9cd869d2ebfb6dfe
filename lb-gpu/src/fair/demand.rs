//! What is asked for, and how it can be refused.

use std::time::Duration;

use crate::reading::DeviceId;

/// What a piece of work needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub(super) slots: u32,
    pub(super) memory_bytes: u64,
    pub(super) device: Option<DeviceId>,
    pub(super) expected: Option<Duration>,
    pub(super) priority: i32,
}

impl Demand {
    /// This many slots on one device, and no memory to speak of.
    #[must_use]
    pub fn slots(slots: u32) -> Self {
        Self {
            slots,
            memory_bytes: 0,
            device: None,
            expected: None,
            priority: 0,
        }
    }

    /// Device memory that the work will take at most. Default: none.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Only on this device. Default: any.
    #[must_use]
    pub fn on(mut self, device: impl Into<DeviceId>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// How long the permit will be held, as a guess: better guesses, better
    /// fairness. Corrected by the truth at the end; tenants that came meanwhile
    /// are not, so do not overstate it. Default: the tenant's recent average, and
    /// for its first work nothing: it pays as it goes.
    #[must_use]
    pub fn expected(mut self, duration: Duration) -> Self {
        self.expected = Some(duration);
        self
    }

    /// Order among the *same* tenant's requests: higher first, equals in order
    /// of arrival. Default: 0.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}

/// One accepted request, from waiting to release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// Why a request was not even queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The tenant is not known, and strangers are not admitted.
    #[error("the tenant is not known")]
    UnknownTenant,
    /// There are too many tenants at once.
    #[error("too many tenants")]
    TooManyTenants,
    /// No device could ever satisfy it.
    #[error("no device is large enough")]
    Impossible,
    /// Too many requests wait already.
    #[error("too many requests are waiting, come back in {retry_after:?}")]
    QueueFull {
        /// When a place may be free again: an estimate.
        retry_after: Duration,
    },
}

impl Refused {
    /// The reason as a metric label.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::UnknownTenant => "unknown_tenant",
            Self::TooManyTenants => "too_many_tenants",
            Self::Impossible => "impossible",
            Self::QueueFull { .. } => "queue_full",
        }
    }
}
