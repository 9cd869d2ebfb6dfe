//! Exact numbers for metrics: thousandths in 64 bits.
//!
//! Kubernetes computes with milli-values, so this crate does too; a floating
//! point number enters only where the source measured one. Parsing follows the
//! Kubernetes quantity grammar (`250m`, `2Gi`, `1e3`, `0.5`); what is finer than
//! a thousandth is rounded away from zero, as there.
//!
//! ```
//! use lb_autoscale::Quantity;
//!
//! assert_eq!("250m".parse::<Quantity>()?, Quantity::from_milli(250));
//! assert_eq!("2Gi".parse::<Quantity>()?, Quantity::from_units(2 << 30));
//! assert_eq!(Quantity::from_units(1_000).to_string(), "1k");
//! assert_eq!(Quantity::from_f64(f64::NAN), None); // unknown is not zero
//! # Ok::<(), lb_autoscale::quantity::ParseQuantityError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const BINARY: [(&str, i128); 6] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
];
const DECIMAL: [(&str, u32); 6] = [
    ("E", 18),
    ("P", 15),
    ("T", 12),
    ("G", 9),
    ("M", 6),
    ("k", 3),
];

/// A metric value or target in thousandths of its unit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Quantity(i64);

impl Quantity {
    /// From thousandths.
    #[must_use]
    pub const fn from_milli(milli: i64) -> Self {
        Self(milli)
    }

    /// From whole units; saturates.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self(units.saturating_mul(1_000))
    }

    /// From a measured number, rounded to the nearest thousandth and saturating.
    /// `None` for NaN and infinities: they say that the source does not know.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        value
            .is_finite()
            .then(|| Self((value * 1_000.0).round() as i64))
    }

    /// Thousandths.
    #[must_use]
    pub const fn milli(self) -> i64 {
        self.0
    }

    /// As a floating point number of units.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// The sum, saturating at the largest 64-bit milli-value.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A text that is no Kubernetes quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a quantity such as 250m, 2Gi, 1.5 or 1e3")]
pub struct ParseQuantityError {
    text: String,
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        scaled(text, 3)
            .and_then(|milli| i64::try_from(milli).ok())
            .map(Self)
            .ok_or_else(|| ParseQuantityError { text: clip(text) })
    }
}

/// A share such as `0.0125` or `12500u`, with all the digits that Kubernetes keeps: nine after the point.
#[cfg(feature = "manifest")]
pub(crate) fn parse_share(text: &str) -> Result<f64, ParseQuantityError> {
    scaled(text, 9)
        .map(|nano| nano as f64 / 1e9)
        .ok_or_else(|| ParseQuantityError { text: clip(text) })
}

/// The text that is read back as this share, in the canonical form if it is a number of thousandths.
#[cfg(feature = "manifest")]
pub(crate) fn share_to_text(share: f64) -> String {
    match Quantity::from_f64(share) {
        Some(exact) if exact.as_f64() == share => exact.to_string(),
        _ => share.to_string(),
    }
}

impl fmt::Display for Quantity {
    /// The canonical short form: of `2Gi` and `2147483648` the former.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % 1_000 != 0 {
            return write!(f, "{}m", self.0);
        }
        let units = i128::from(self.0 / 1_000);
        let plain = units.to_string();
        let decimal = DECIMAL
            .iter()
            .map(|(suffix, power)| (*suffix, 10_i128.pow(*power)));
        let shortest = decimal
            .chain(BINARY)
            .filter(|(_, scale)| units != 0 && units % scale == 0)
            .map(|(suffix, scale)| format!("{}{suffix}", units / scale))
            .min_by_key(String::len)
            .filter(|short| short.len() < plain.len());
        f.write_str(shortest.as_deref().unwrap_or(&plain))
    }
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The number times ten to the power of `digits`; what is finer is rounded away from zero.
fn scaled(text: &str, digits: i32) -> Option<i128> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits_end = body
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(body.len());
    let (number, suffix) = body.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0
        || whole.len() + fraction.len() > 30
        || fraction.contains('.')
    {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (binary, power) = scale_of(suffix)?;
    // value * 10^digits = mantissa * binary * 10^(power + digits - fraction digits)
    let exponent = power + digits - i32::try_from(fraction.len()).ok()?;
    let whole = mantissa.checked_mul(binary)?;
    let size = if exponent >= 0 {
        whole.checked_mul(10_i128.checked_pow(exponent.unsigned_abs())?)?
    } else {
        let divisor = 10_i128.checked_pow(exponent.unsigned_abs())?;
        whole / divisor + i128::from(whole % divisor != 0)
    };
    Some(if negative { -size } else { size })
}

/// The suffix as a binary factor and a power of ten.
fn scale_of(suffix: &str) -> Option<(i128, i32)> {
    let small = match suffix {
        "" => Some(0),
        "m" => Some(-3),
        "u" => Some(-6),
        "n" => Some(-9),
        _ => None,
    };
    if let Some(power) = small {
        return Some((1, power));
    }
    if let Some((_, factor)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((*factor, 0));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((1, i32::try_from(*power).ok()?));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-30..=30).contains(&exponent).then_some((1, exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_finer_than_a_thousandth_is_rounded_up() {
        assert_eq!("1n".parse(), Ok(Quantity::from_milli(1)));
        assert_eq!("1.0001".parse(), Ok(Quantity::from_milli(1_001)));
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        for text in [
            "",
            ".",
            "-",
            "1.2.3",
            "1KiB",
            "one",
            "1e",
            "1e99",
            "99999999999E",
            "0x10",
        ] {
            let refused = text.parse::<Quantity>().unwrap_err();
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_loses_nothing(milli in any::<i64>()) {
            let quantity = Quantity::from_milli(milli);
            prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity));
        }
    }
}
