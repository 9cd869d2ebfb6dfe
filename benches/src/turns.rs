//! Rows that take turns: figures to be compared on a machine that changes its speed.
//!
//! Such a machine changes it for all rows of one turn, so that a difference or a ratio within a
//! turn means something where figures taken seconds apart do not.
//!
//! ```
//! use benches::turns::{Row, Turns};
//! use std::hint::black_box;
//!
//! let rows = vec![
//!     Row::new("one", || drop(black_box(1))),
//!     Row::new("boxed", || drop(black_box(Box::new(1)))),
//! ];
//! let turns = Turns::take(rows, 3);
//! let more = turns.spread(|turn| turn.of("boxed") / turn.of("one"));
//! assert!(more.least <= more.middle && more.middle <= more.most);
//! ```

use std::{fmt, time::Duration};

use crate::cpu::quickest;

/// Calls of each row in one turn.
const CALLS: u64 = 40_000;

/// Something to be measured.
pub struct Row {
    name: &'static str,
    turn: Box<dyn FnMut(u64) -> Duration>,
}

/// What calls of all rows took, in ns, turn by turn.
#[derive(Debug)]
pub struct Turns {
    names: Vec<&'static str>,
    turns: Vec<Vec<f64>>,
}

/// One turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    names: &'a [&'static str],
    ns: &'a [f64],
}

/// How a figure differs from turn to turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// A quarter of the turns is below.
    pub first: f64,
    /// Half of the turns is.
    pub middle: f64,
    /// A quarter of the turns is above.
    pub third: f64,
    /// The greatest.
    pub most: f64,
}

impl Row {
    /// CPU time of this work on this thread, the quickest of many batches.
    pub fn new(name: &'static str, mut work: impl FnMut() + 'static) -> Self {
        Self::of(name, move |calls| quickest(calls, &mut work))
    }

    /// Work that says itself how long so many calls take.
    pub fn of(name: &'static str, turn: impl FnMut(u64) -> Duration + 'static) -> Self {
        let turn = Box::new(turn);
        Self { name, turn }
    }

    fn take(&mut self) -> f64 {
        (self.turn)(CALLS).as_secs_f64() * 1e9 / CALLS as f64
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Turns {
    /// So many turns, after one that fills every thread-local table and does not count.
    #[must_use]
    pub fn take(mut rows: Vec<Row>, turns: usize) -> Self {
        let mut turn = |_| rows.iter_mut().map(Row::take).collect::<Vec<_>>();
        turn(0);
        let turns = (0..turns).map(turn).collect();
        let names = rows.iter().map(|row| row.name).collect();
        Self { names, turns }
    }

    /// The names of the rows.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }

    /// How this figure of a turn differs.
    ///
    /// # Panics
    ///
    /// If there was no turn.
    pub fn spread(&self, figure: impl Fn(Turn<'_>) -> f64) -> Spread {
        let names = &self.names;
        let turn = |ns: &Vec<f64>| figure(Turn { names, ns });
        let mut all: Vec<f64> = self.turns.iter().map(turn).collect();
        all.sort_unstable_by(f64::total_cmp);
        let quarter = |number: usize| all[number * (all.len() - 1) / 4];
        Spread {
            least: quarter(0),
            first: quarter(1),
            middle: quarter(2),
            third: quarter(3),
            most: quarter(4),
        }
    }

    /// The share of turns in which that holds.
    pub fn share(&self, holds: impl Fn(Turn<'_>) -> bool) -> f64 {
        let names = &self.names;
        let all = self.turns.iter();
        let held = all.filter(|ns| holds(Turn { names, ns })).count();
        held as f64 / self.turns.len() as f64
    }
}

impl Turn<'_> {
    /// What one call of that row took, in ns.
    ///
    /// # Panics
    ///
    /// If there is no row of that name.
    #[must_use]
    pub fn of(&self, name: &str) -> f64 {
        let at = self.names.iter().position(|row| *row == name);
        self.ns[at.expect("there is a row of that name")]
    }
}
