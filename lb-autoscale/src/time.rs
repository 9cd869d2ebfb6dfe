//! Time as data: milliseconds since the Unix epoch.
//!
//! A decision is a function of `now`, and what it remembers is stored, sent and
//! replayed. So time here is an integer, never an `Instant`: two machines, or
//! the same machine a week later, read the same history alike.
//!
//! ```
//! use std::time::Duration;
//! use lb_autoscale::UnixMillis;
//!
//! let noon = UnixMillis::from_secs(43_200);
//! assert_eq!(noon + Duration::from_secs(1), UnixMillis::from_millis(43_201_000));
//! assert_eq!(noon.since(noon + Duration::from_secs(1)), Duration::ZERO);
//! ```

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(i64);

impl UnixMillis {
    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds; saturates at the ends of the range.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// Milliseconds since the epoch; negative before 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was. Zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.age_of(earlier)).unwrap_or(0))
    }

    /// Signed age of `earlier` in milliseconds: negative if it lies in the future.
    pub(crate) const fn age_of(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span_millis(span)))
    }
}

impl Sub<Duration> for UnixMillis {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span_millis(span)))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:03}s",
            self.0.div_euclid(1_000),
            self.0.rem_euclid(1_000)
        )
    }
}

fn span_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
