//! How much one key may do.

use std::num::NonZeroU32;
use std::time::Duration;

use super::QuotaError;

/// So many requests per period, and so many at once.
///
/// The limit is the generic cell rate algorithm (ITU-T I.371), as the crate
/// governor has it: a leaky bucket that holds `burst` requests and drains evenly,
/// one request per `period / requests`. There is no window that could be filled
/// at its end and again at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    requests: NonZeroU32,
    period: Duration,
    burst: NonZeroU32,
}

impl Quota {
    /// `requests` per `period`, and as many at once.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if either is zero, or if one request's share of the period
    /// is below a nanosecond or the time to refill a burst above a year.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lb_core::limit::Quota;
    ///
    /// let api = Quota::new(10, Duration::from_secs(1))?.burst(20)?;
    /// assert_eq!(api.interval(), Duration::from_millis(100));
    /// assert!(Quota::new(0, Duration::from_secs(1)).is_err());
    /// # Ok::<(), lb_core::limit::QuotaError>(())
    /// ```
    pub fn new(requests: u32, period: Duration) -> Result<Self, QuotaError> {
        let requests = NonZeroU32::new(requests).ok_or(QuotaError::Zero { what: "requests" })?;
        if period.is_zero() {
            return Err(QuotaError::Zero { what: "period" });
        }
        Self {
            requests,
            period,
            burst: requests,
        }
        .checked()
    }

    /// So many may come at once. Default: the requests of one period.
    ///
    /// # Errors
    ///
    /// As [`Quota::new`].
    pub fn burst(mut self, burst: u32) -> Result<Self, QuotaError> {
        self.burst = NonZeroU32::new(burst).ok_or(QuotaError::Zero { what: "burst" })?;
        self.checked()
    }

    /// Requests per period.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// The period.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Requests at once.
    #[must_use]
    pub fn burst_size(&self) -> u32 {
        self.burst.get()
    }

    /// The time in which one request drains.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.period / self.requests.get()
    }

    /// The time after which an idle key has its whole burst again.
    #[must_use]
    pub fn refill(&self) -> Duration {
        self.interval().saturating_mul(self.burst.get())
    }

    fn checked(self) -> Result<Self, QuotaError> {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        if self.interval().is_zero() || self.refill() > YEAR {
            return Err(QuotaError::OutOfRange {
                interval: self.interval(),
                burst: self.burst.get(),
            });
        }
        Ok(self)
    }

    pub(super) fn to_governor(self) -> Option<governor::Quota> {
        Some(governor::Quota::with_period(self.interval())?.allow_burst(self.burst))
    }
}
