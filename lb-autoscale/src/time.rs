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
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds of a day.
pub(crate) const DAY_MILLIS: i64 = 86_400_000;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
/// It takes eight bytes, and so does an `Option` of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(NonZeroU64);

/// Moves the range of `i64` to that of `u64`, in order; `i64::MIN` becomes zero.
const SIGN: u64 = 1 << 63;

impl UnixMillis {
    /// From whole milliseconds; the least `i64` becomes the one after it.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        match NonZeroU64::new(millis.cast_unsigned() ^ SIGN) {
            Some(ordered) => Self(ordered),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// From whole seconds; saturates at the ends of the range.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1_000))
    }

    /// Milliseconds since the epoch; negative before 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        (self.0.get() ^ SIGN).cast_signed()
    }

    /// How long ago `earlier` was. Zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.age_of(earlier)).unwrap_or(0))
    }

    /// Year, month and day (from 1) in UTC, of the proleptic Gregorian calendar.
    pub(crate) const fn date(self) -> (i64, i64, i64) {
        // Days to civil date, after Howard Hinnant, "chrono-compatible low-level date algorithms".
        let days = self.millis().div_euclid(DAY_MILLIS) + 719_468;
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
        let seconds = self.millis().rem_euclid(DAY_MILLIS) / 1_000;
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
    }

    /// Signed age of `earlier` in milliseconds: negative if it lies in the future.
    pub(crate) const fn age_of(self, earlier: Self) -> i64 {
        self.millis().saturating_sub(earlier.millis())
    }
}

impl Default for UnixMillis {
    /// The epoch.
    fn default() -> Self {
        Self::from_millis(0)
    }
}

impl Serialize for UnixMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.millis().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UnixMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self::from_millis)
    }
}

impl fmt::Debug for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixMillis").field(&self.millis()).finish()
    }
}

impl Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self::from_millis(self.millis().saturating_add(span_millis(span)))
    }
}

impl Sub<Duration> for UnixMillis {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self::from_millis(self.millis().saturating_sub(span_millis(span)))
    }
}

impl fmt::Display for UnixMillis {
    /// As RFC 3339 has it, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (time, millis) = (self.clock_time(), self.millis().rem_euclid(1_000));
        write!(f, "{year:04}-{month:02}-{day:02}T{time}.{millis:03}Z")
    }
}

fn span_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_that_may_be_unknown_takes_no_more_room() {
        assert_eq!(size_of::<Option<UnixMillis>>(), 8);
    }

    #[test]
    fn the_least_millisecond_becomes_the_next() {
        let least = UnixMillis::from_millis(i64::MIN);
        assert_eq!(least.millis(), i64::MIN + 1);
        assert_eq!(least - Duration::from_secs(1), least);
    }

    proptest! {
        #[test]
        fn times_keep_their_value_and_their_order(a in i64::MIN + 1.., b in i64::MIN + 1..) {
            let (at, other) = (UnixMillis::from_millis(a), UnixMillis::from_millis(b));
            prop_assert_eq!((at.millis(), at.cmp(&other)), (a, a.cmp(&b)));
            let stored = serde_json::to_string(&at).unwrap();
            prop_assert_eq!(&stored, &a.to_string());
            prop_assert_eq!(serde_json::from_str::<UnixMillis>(&stored).unwrap(), at);
        }
    }
}
