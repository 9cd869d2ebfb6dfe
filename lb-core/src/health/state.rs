//! Up or down: a pure machine with two thresholds.

/// What the probes of one endpoint say, taken together.
///
/// A row of failures takes an endpoint out, a row of successes brings it back;
/// one odd answer does neither. Before the first answer nothing is known, and
/// that answer decides alone: a newcomer that is well should not wait, one that
/// is not should not get traffic first.
///
/// ```
/// use lb_core::health::{Health, Thresholds};
///
/// let twice_up_thrice_down = Thresholds::default();
/// let down = Health::Down { successes: 0 };
/// let trying = down.after(true, twice_up_thrice_down);
/// assert_eq!(trying, Health::Down { successes: 1 });
/// assert!(trying.after(true, twice_up_thrice_down).is_up());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case", tag = "state")
)]
pub enum Health {
    /// No probe has been answered yet.
    #[default]
    Unknown,
    /// It gets traffic.
    Up {
        /// Failures in a row.
        failures: u32,
    },
    /// It gets none.
    Down {
        /// Successes in a row.
        successes: u32,
    },
}

/// How many in a row change the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes that bring an endpoint back. Default: 2.
    pub rise: u32,
    /// Failures that take it out. Default: 3.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rise: 2, fall: 3 }
    }
}

impl Health {
    /// One more probe was answered, well or not.
    #[must_use]
    pub fn after(self, well: bool, thresholds: Thresholds) -> Self {
        match (self, well) {
            (Self::Unknown, true) | (Self::Up { .. }, true) => Self::Up { failures: 0 },
            (Self::Unknown, false) | (Self::Down { .. }, false) => Self::Down { successes: 0 },
            (Self::Up { failures }, false) if failures + 1 >= thresholds.fall => {
                Self::Down { successes: 0 }
            }
            (Self::Up { failures }, false) => Self::Up {
                failures: failures + 1,
            },
            (Self::Down { successes }, true) if successes + 1 >= thresholds.rise => {
                Self::Up { failures: 0 }
            }
            (Self::Down { successes }, true) => Self::Down {
                successes: successes + 1,
            },
        }
    }

    /// Whether it may get traffic. Unknown may: who registered it vouches for it.
    #[must_use]
    pub fn is_up(self) -> bool {
        !matches!(self, Self::Down { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_answer_decides_alone() {
        let thresholds = Thresholds::default();
        assert_eq!(
            Health::Unknown.after(false, thresholds),
            Health::Down { successes: 0 }
        );
        assert_eq!(
            Health::Unknown.after(true, thresholds),
            Health::Up { failures: 0 }
        );
    }

    #[test]
    fn a_success_in_between_starts_the_row_of_failures_anew() {
        let thresholds = Thresholds { rise: 2, fall: 3 };
        let answers = [true, false, false, true, false, false];
        let health = answers.iter().fold(Health::Unknown, |health, well| {
            health.after(*well, thresholds)
        });
        assert_eq!(health, Health::Up { failures: 2 });
    }

    proptest! {
        /// The verdict turns exactly when the last answers in a row reach the threshold.
        #[test]
        fn only_a_full_row_turns_the_verdict(
            rise in 1_u32..5,
            fall in 1_u32..5,
            answers in prop::collection::vec(any::<bool>(), 1..60),
        ) {
            let thresholds = Thresholds { rise, fall };
            let mut health = Health::Unknown.after(answers[0], thresholds);
            let (mut last, mut row) = (answers[0], 1);
            for well in &answers[1..] {
                row = if *well == last { row + 1 } else { 1 };
                last = *well;
                let before = health.is_up();
                health = health.after(*well, thresholds);
                let needed = if *well { rise } else { fall };
                prop_assert_eq!(health.is_up(), if row >= needed { *well } else { before });
            }
        }
    }
}
