//! Durations as Consul writes them: `10s`, `1m30s`, `1.5h`.
//!
//! The syntax is that of Go's `time.ParseDuration`: a sequence of decimal numbers, each with a unit out of
//! `ns`, `us`, `ms`, `s`, `m`, `h`. A number without a unit is an error, except `0`.
//!
//! ```
//! use std::time::Duration;
//! use lb_registry::duration::{format, parse};
//!
//! assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
//! assert_eq!(parse("10").unwrap_err().to_string(), "time: missing unit in duration \"10\"");
//! assert_eq!(format(Duration::from_secs(90)), "1m30s");
//! ```

use std::time::Duration;

const NANOS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
];

/// The longest duration that is read, the one that Go's type can hold (about 292 years).
const MOST_NANOS: f64 = i64::MAX as f64;

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Not a sequence of numbers and units.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// What stands where the unit should.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a duration. A negative one reads as zero, because nothing here waits for the past.
///
/// # Errors
///
/// [`DurationError`], worded as Go words it.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    signed(text).map(|(negative, duration)| match negative {
        true => Duration::ZERO,
        false => duration,
    })
}

/// The same with its sign; `true` is negative.
pub(crate) fn signed(text: &str) -> Result<(bool, Duration), DurationError> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok((negative, Duration::ZERO));
    }
    if rest.is_empty() {
        return Err(DurationError::Invalid(text.into()));
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (step, tail) = term(rest, text)?;
        nanos += step;
        rest = tail;
    }
    if nanos > MOST_NANOS {
        return Err(DurationError::Invalid(text.into()));
    }
    Ok((negative, Duration::from_nanos(nanos as u64)))
}

/// One number with its unit, in nanoseconds, and what follows it.
fn term<'a>(rest: &'a str, text: &str) -> Result<(f64, &'a str), DurationError> {
    let digits = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, tail) = rest.split_at(digits);
    let value: f64 = match number {
        "" | "." => return Err(DurationError::Invalid(text.into())),
        number => number
            .parse()
            .map_err(|_| DurationError::Invalid(text.into()))?,
    };
    let end = tail
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(text.into()));
    }
    match NANOS.iter().find(|(name, _)| *name == unit) {
        Some((_, nanos)) => Ok((value * nanos, tail)),
        None => Err(DurationError::UnknownUnit {
            unit: unit.into(),
            text: text.into(),
        }),
    }
}

/// Writes a duration as Go does, down to milliseconds.
#[must_use]
pub fn format(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 && millis > 0 {
        return format!("{millis}ms");
    }
    let fraction = match millis {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}{fraction}s"),
        (0, minutes) => format!("{minutes}m{rest}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_texts_are_refused_as_go_refuses_them() {
        assert!(parse("").is_err());
        assert!(parse("x").is_err());
        assert!(
            parse("5x")
                .unwrap_err()
                .to_string()
                .contains("unknown unit")
        );
        assert!(parse("1.2.3s").is_err());
        assert!(parse("99999999h").is_err());
        assert_eq!(parse("-5s"), Ok(Duration::ZERO));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1_500)));
    }

    proptest! {
        /// What is written reads back.
        #[test]
        fn what_is_written_reads_back(millis in 0u64..1_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        /// No text panics.
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
