//! What every scenario stands on: processes, a stage of origins and a gateway, figures.

pub(crate) mod figure;
pub(crate) mod judge;
mod process;
pub(crate) mod stage;
mod table;
mod usage;

pub(crate) use figure::{Figure, at_least, at_most, exactly, holds};
pub(crate) use process::{Process, Wrap};
pub(crate) use stage::Stage;
pub(crate) use table::{Report, Verdict};
pub(crate) use usage::Usage;

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Shorter load; the mechanisms keep their times.
    pub(crate) quick: bool,
    /// The mechanism under judgement is there; otherwise this is its control.
    pub(crate) on: bool,
}

impl Pace {
    /// How long a load lasts. Controls are as short as a quick run.
    pub(crate) fn seconds(self, full: f64, quick: f64) -> f64 {
        if self.quick || !self.on { quick } else { full }
    }
}
