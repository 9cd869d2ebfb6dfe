//! One figure of a scenario: what was measured, and what it may be.

use serde::Serialize;

/// A measured value beside its bound.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) bound: String,
    pub(crate) met: bool,
}

impl Figure {
    fn new(what: impl Into<String>, measured: f64, sign: &str, bound: f64, met: bool) -> Self {
        Self {
            what: what.into(),
            measured: number(measured),
            bound: format!("{sign} {}", number(bound)),
            met,
        }
    }

    /// Adds what the number alone does not say, such as "of 30000".
    pub(crate) fn of(mut self, more: impl std::fmt::Display) -> Self {
        self.measured = format!("{} {more}", self.measured);
        self
    }
}

pub(crate) fn at_most(what: impl Into<String>, measured: f64, bound: f64) -> Figure {
    Figure::new(what, measured, "<=", bound, measured <= bound)
}

pub(crate) fn at_least(what: impl Into<String>, measured: f64, bound: f64) -> Figure {
    Figure::new(what, measured, ">=", bound, measured >= bound)
}

pub(crate) fn exactly(what: impl Into<String>, measured: usize, bound: usize) -> Figure {
    Figure::new(what, measured as f64, "=", bound as f64, measured == bound)
}

/// A figure that is yes or no.
pub(crate) fn holds(what: impl Into<String>, met: bool) -> Figure {
    let measured = if met { "yes" } else { "no" };
    Figure {
        what: what.into(),
        measured: measured.into(),
        bound: "= yes".into(),
        met,
    }
}

/// Three digits that count, and no more.
fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e7 {
        format!("{value}")
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_up_to_itself() {
        assert!(at_most("x", 3.0, 3.0).met);
        assert!(!at_most("x", 3.01, 3.0).met);
        assert!(at_least("x", 3.0, 3.0).met);
        assert!(!exactly("x", 1, 0).met);
    }

    #[test]
    fn what_could_not_be_measured_meets_no_bound() {
        assert!(!at_most("x", f64::NAN, 3.0).met);
        assert!(!at_least("x", f64::NAN, 3.0).met);
    }
}
