//! A load: requests per second, second by second.

/// Requests per second over time. Time starts at 0, in steps of a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Its name in reports.
    pub name: String,
    /// Arrivals of each second.
    pub arrivals: Vec<f64>,
}

/// A text that is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// A line is not `second,requests_per_second`.
    #[error("line {line}: expected `second,requests_per_second`")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// Seconds must not decrease.
    #[error("line {line}: time runs backwards")]
    Backwards {
        /// The line, from 1.
        line: usize,
    },
    /// More than 32 days.
    #[error("longer than 32 days")]
    TooLong,
    /// No line at all.
    #[error("no line of load")]
    Empty,
}

const LONGEST_SECONDS: usize = 32 * 86_400;

impl Trace {
    /// Reads `second,requests_per_second` lines; a heading is allowed, and a
    /// rate holds until the next line.
    ///
    /// # Errors
    ///
    /// [`TraceError`] names the line.
    pub fn from_csv(name: impl Into<String>, text: &str) -> Result<Self, TraceError> {
        let mut arrivals: Vec<f64> = Vec::new();
        let mut first = None;
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let line_number = index + 1;
            let Some((second, rate)) = parse_line(line) else {
                if index == 0 {
                    continue;
                }
                return Err(TraceError::Line { line: line_number });
            };
            let second = second - *first.get_or_insert(second);
            if second < 0.0 || (second as usize) + 1 < arrivals.len() {
                return Err(TraceError::Backwards { line: line_number });
            }
            if second as usize > LONGEST_SECONDS {
                return Err(TraceError::TooLong);
            }
            let held = arrivals.last().copied().unwrap_or(rate);
            arrivals.resize(second as usize, held);
            arrivals.push(rate);
        }
        if arrivals.is_empty() {
            return Err(TraceError::Empty);
        }
        Ok(Self {
            name: name.into(),
            arrivals,
        })
    }

    /// The same as text.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let lines = self
            .arrivals
            .iter()
            .enumerate()
            .map(|(second, rate)| format!("{second},{rate}\n"));
        std::iter::once("second,requests_per_second\n".to_owned())
            .chain(lines)
            .collect()
    }
}

fn parse_line(line: &str) -> Option<(f64, f64)> {
    let mut fields = line.split(',').map(str::trim);
    let second: f64 = fields.next()?.parse().ok()?;
    let rate: f64 = fields.next()?.parse().ok()?;
    (second.is_finite() && second >= 0.0 && rate.is_finite() && rate >= 0.0)
        .then_some((second, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_until_the_next_line() {
        let trace = Trace::from_csv("t", "second,requests_per_second\n10,5\n13,7\n").unwrap();
        assert_eq!(trace.arrivals, [5.0, 5.0, 5.0, 7.0]);
        assert_eq!(Trace::from_csv("t", &trace.to_csv()).unwrap(), trace);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [
            ("0,1\nx,2", 2),
            ("0,1\n1,NaN", 2),
            ("0,1\n1,-2", 2),
            ("0,1\n5", 2),
        ] {
            assert_eq!(
                Trace::from_csv("t", text),
                Err(TraceError::Line { line }),
                "{text}"
            );
        }
        assert_eq!(
            Trace::from_csv("t", "0,1\n5,1\n3,1"),
            Err(TraceError::Backwards { line: 3 })
        );
        assert_eq!(
            Trace::from_csv("t", "0,1\n1e15,1"),
            Err(TraceError::TooLong)
        );
        assert_eq!(Trace::from_csv("t", ""), Err(TraceError::Empty));
    }
}
