//! What was seen, next to what is allowed.

use std::fmt;
use std::time::Duration;

/// The heading of the table that the verdicts make.
pub(crate) const HEADER: &str = "fault                  |   gets | wrong | p99 ms (limit) | worst ms | recovered s (limit) | verdict";

/// How much slower than the source a get may be.
const MARGIN: Duration = Duration::from_millis(5);

pub(crate) struct Verdict {
    pub(crate) fault: &'static str,
    pub(crate) gets: usize,
    /// Errors and wrong values.
    pub(crate) wrong: usize,
    pub(crate) p99: Duration,
    pub(crate) worst: Duration,
    pub(crate) source_p99: Duration,
    pub(crate) recovered: Option<Duration>,
    pub(crate) limit: Duration,
    /// All callers were still at work in the end.
    pub(crate) callers: bool,
}

impl Verdict {
    pub(crate) fn passed(&self) -> bool {
        self.callers
            && self.gets > 1_000
            && self.wrong == 0
            && self.p99 <= self.source_p99 + MARGIN
            && self
                .recovered
                .is_some_and(|recovered| recovered <= self.limit)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let recovered = self.recovered.map_or("never".to_owned(), |after| {
            format!("{:.2}", after.as_secs_f64())
        });
        write!(
            f,
            "{:<22} | {:>6} | {:>5} | {:>6.1} ({:>5.1}) | {:>8.1} | {:>11} ({:>5.1}) | {}",
            self.fault,
            self.gets,
            self.wrong,
            millis(self.p99),
            millis(self.source_p99 + MARGIN),
            millis(self.worst),
            recovered,
            self.limit.as_secs_f64(),
            if self.passed() { "held" } else { "MISSED" },
        )
    }
}

/// The 99th percentile; zero if nothing was seen.
pub(crate) fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * 99).div_ceil(100);
    rank.checked_sub(1)
        .and_then(|rank| times.get(rank))
        .copied()
        .unwrap_or_default()
}
