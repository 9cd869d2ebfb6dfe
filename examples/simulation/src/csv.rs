//! Inputs as a table: `name,distribution,a,b,c`, one input a row.
//!
//! `a`, `b`, `c` are the distribution's parameters in their usual order: normal
//! `mean, std_dev`; lognormal `mu, sigma`; uniform `min, max`; triangular `min,
//! mode, max`. A first row `name,distribution,…`, empty rows and rows that begin
//! with `#` are skipped; fields may stand in double quotes.
//!
//! [`Rows`] takes the text in pieces as they arrive and keeps no more than one
//! row of it.
//!
//! ```
//! use simulation::csv::Rows;
//!
//! let mut rows = Rows::default();
//! rows.feed(b"name,distribution,a,b,c\nprice,normal,100,").unwrap();
//! rows.feed(b"15\nvolume,triangular,8,10,15").unwrap();
//! assert_eq!(rows.finish().unwrap().len(), 2);
//! ```

use std::collections::BTreeMap;

use montecarlo::distribution::Distribution;
use montecarlo::spec::{MAX_INPUTS, SpecError};

/// Longest row, in bytes.
const MAX_ROW: usize = 1_024;
const HINT: &str = "write name,distribution,a,b,c, for example price,normal,100,15";

/// Reads a table piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The row that is not complete yet.
    row: Vec<u8>,
    number: u64,
    inputs: BTreeMap<String, Distribution>,
}

impl Rows {
    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// The number of the row at fault and what to write instead.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), SpecError> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.row.extend_from_slice(part);
            if self.row.len() > MAX_ROW {
                self.number += 1;
                return Err(self.error(format!("the row is longer than {MAX_ROW} bytes")));
            }
            if part.ends_with(b"\n") {
                self.end_row()?;
            }
        }
        Ok(())
    }

    /// The inputs, after the last piece.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed), for the last row.
    pub fn finish(mut self) -> Result<BTreeMap<String, Distribution>, SpecError> {
        self.end_row()?;
        Ok(self.inputs)
    }

    fn end_row(&mut self) -> Result<(), SpecError> {
        self.number += 1;
        let row = std::mem::take(&mut self.row);
        let text = str::from_utf8(&row).map_err(|_| self.error("the row is not UTF-8"))?;
        // A byte order mark is what spreadsheets begin a file with.
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let fields: Vec<&str> = text.split(',').map(unquote).collect();
        if self.inputs.is_empty() && fields.starts_with(&["name", "distribution"]) {
            return Ok(());
        }
        let (name, distribution) = self.input(&fields)?;
        if self.inputs.len() == MAX_INPUTS {
            return Err(self.error(format!("more than {MAX_INPUTS} inputs")));
        }
        if self.inputs.insert(name.clone(), distribution).is_some() {
            return Err(self.error(format!("input {name:?} occurs twice")));
        }
        Ok(())
    }

    fn input(&self, fields: &[&str]) -> Result<(String, Distribution), SpecError> {
        let [name, distribution, parameters @ ..] = fields else {
            return Err(self.error("the row has fewer than two fields"));
        };
        let mut numbers = Vec::new();
        for text in parameters.iter().filter(|text| !text.is_empty()) {
            let number: f64 = text
                .parse()
                .map_err(|_| self.error(format!("{text:?} is not a number")))?;
            numbers.push(number);
        }
        let distribution = match (*distribution, numbers[..].as_ref()) {
            ("normal", &[mean, std_dev]) => Distribution::Normal { mean, std_dev },
            ("lognormal", &[mu, sigma]) => Distribution::Lognormal { mu, sigma },
            ("uniform", &[min, max]) => Distribution::Uniform { min, max },
            ("triangular", &[min, mode, max]) => Distribution::Triangular { min, mode, max },
            ("normal" | "lognormal" | "uniform", _) => {
                return Err(self.error("this distribution has two parameters"));
            }
            ("triangular", _) => return Err(self.error("triangular has three parameters")),
            (other, _) => return Err(self.error(format!("{other:?} is no distribution"))),
        };
        Ok(((*name).to_owned(), distribution))
    }

    fn error(&self, message: impl Into<String>) -> SpecError {
        SpecError {
            field: format!("row {}", self.number),
            message: message.into(),
            hint: HINT.to_owned(),
        }
    }
}

fn unquote(field: &str) -> &str {
    let field = field.trim();
    let inner = field
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(field).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "\u{feff}name,distribution,a,b,c\r\n\"price\",normal,100,15,\r\n\n# a comment\nv , uniform , 1 , 2\nt,triangular,1,2,3";

    #[test]
    fn what_spreadsheets_write_is_read() {
        let mut rows = Rows::default();
        rows.feed(TABLE.as_bytes()).unwrap();
        let inputs = rows.finish().unwrap();
        assert_eq!(inputs.len(), 3);
        assert_eq!(
            inputs["price"],
            Distribution::Normal {
                mean: 100.0,
                std_dev: 15.0
            }
        );
        assert_eq!(inputs["v"], Distribution::Uniform { min: 1.0, max: 2.0 });
    }

    #[test]
    fn the_row_at_fault_is_named() {
        let many: String = (0..33).map(|n| format!("x{n},normal,0,1\n")).collect();
        let long = "x".repeat(2_000);
        for (table, row) in [
            ("x,normal,0,1\ny,normal,zero,1\n", "row 2"),
            ("x,normal,0", "row 1"),
            ("x,triangular,0,1", "row 1"),
            ("\nx,cauchy,0,1", "row 2"),
            ("x", "row 1"),
            ("x,normal,0,1\nx,normal,0,1", "row 2"),
            (&many, "row 33"),
            (&long, "row 1"),
        ] {
            let mut rows = Rows::default();
            let result = rows.feed(table.as_bytes()).and_then(|()| rows.finish());
            assert_eq!(result.unwrap_err().field, row, "{table:.40}");
        }
        assert!(Rows::default().feed(b"\xff\xfe,normal\n").is_err());
    }

    proptest! {
        /// Where the pieces are cut changes nothing.
        #[test]
        fn any_cut_gives_the_same_inputs(cuts in prop::collection::vec(0usize..TABLE.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let (mut rows, mut start) = (Rows::default(), 0);
            for cut in cuts.into_iter().chain([TABLE.len()]) {
                rows.feed(&TABLE.as_bytes()[start..cut]).unwrap();
                start = cut;
            }
            prop_assert_eq!(rows.finish().unwrap().len(), 3);
        }

        /// No bytes make it panic.
        #[test]
        fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut rows = Rows::default();
            let _ = rows.feed(&bytes).and_then(|()| rows.finish());
        }
    }
}
