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
//! assert_eq!(noon.to_string(), "1970-01-01T12:00:00.000Z");
//! ```

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds of a day.
pub(crate) const DAY_MILLIS: i64 = 86_400_000;

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

    /// Year, month and day (from 1) in UTC, of the proleptic Gregorian calendar.
    pub(crate) const fn date(self) -> (i64, i64, i64) {
        // Days to civil date, after Howard Hinnant, "chrono-compatible low-level date algorithms".
        let days = self.0.div_euclid(DAY_MILLIS) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_based = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_based + 2) / 5 + 1;
        // March is month 0 of its year, so January and February belong to the next one.
        let months = (year_of_era + era * 400) * 12 + march_based + 2;
        (months.div_euclid(12), months.rem_euclid(12) + 1, day)
    }

    /// Hours, minutes and seconds of the day in UTC: `12:00:00`.
    pub(crate) fn clock_time(self) -> String {
        let seconds = self.0.rem_euclid(DAY_MILLIS) / 1_000;
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
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
    /// As RFC 3339 has it, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (time, millis) = (self.clock_time(), self.0.rem_euclid(1_000));
        write!(f, "{year:04}-{month:02}-{day:02}T{time}.{millis:03}Z")
    }
}

fn span_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
