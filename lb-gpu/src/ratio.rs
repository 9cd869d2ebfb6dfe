//! A share of some capacity, with "unknown" kept apart from "idle".

use std::fmt;

/// A share of some capacity: `0.0` idle, `1.0` full. Never NaN.
///
/// ```
/// use lb_gpu::Ratio;
///
/// assert_eq!(Ratio::saturating(1.7).map(Ratio::get), Some(1.0));
/// assert_eq!(Ratio::percent(40).map(Ratio::get), Some(0.4));
/// assert_eq!(Ratio::percent(255), None); // garbage is dropped, not capped
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Ratio(f64);

impl Ratio {
    /// Nothing used.
    pub const IDLE: Self = Self(0.0);
    /// Everything used.
    pub const FULL: Self = Self(1.0);

    /// Clamps into `0.0..=1.0`; `None` for NaN, because "unknown" is not "idle".
    #[must_use]
    pub fn saturating(value: f64) -> Option<Self> {
        (!value.is_nan()).then(|| Self(value.clamp(0.0, 1.0)))
    }

    /// From a driver's percentage. `None` above 100: drivers are known to
    /// report garbage there, and a capped guess would look like a full GPU.
    #[must_use]
    pub fn percent(value: u32) -> Option<Self> {
        (value <= 100).then(|| Self(f64::from(value) / 100.0))
    }

    /// `part / whole`; `None` when the whole is zero.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        (whole > 0).then(|| Self((part as f64 / whole as f64).min(1.0)))
    }

    /// The share as a plain number in `0.0..=1.0`.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0 * 100.0)
    }
}
