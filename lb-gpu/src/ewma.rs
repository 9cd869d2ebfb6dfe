//! A moving average that knows how much time went by.

use std::time::{Duration, Instant};

/// An exponentially weighted moving average by real elapsed time.
///
/// A sample that comes `dt` after the previous one counts with
/// `1 - exp(-dt / tau)`: late and early samples weigh what they should, and a
/// step is followed to 63 % after `tau`. The first sample is the average.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lb_gpu::ewma::Ewma;
///
/// # #[expect(clippy::disallowed_methods)]
/// let start = Instant::now();
/// let mut busy = Ewma::new(Duration::from_secs(5));
/// busy.observe(0.0, start);
/// busy.observe(1.0, start + Duration::from_secs(5));
/// assert!((busy.get().unwrap() - 0.632).abs() < 0.001);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ewma {
    tau: Duration,
    state: Option<(f64, Instant)>,
}

impl Ewma {
    /// An average without any sample yet. A `tau` of zero always follows the latest sample.
    #[must_use]
    pub fn new(tau: Duration) -> Self {
        Self { tau, state: None }
    }

    /// Takes one sample. Time that runs backwards counts as no time at all.
    pub fn observe(&mut self, value: f64, now: Instant) {
        let average = match self.state {
            None => value,
            Some((average, last)) => {
                let elapsed = now.saturating_duration_since(last).as_secs_f64();
                let weight = 1.0 - (-elapsed / self.tau.as_secs_f64().max(f64::MIN_POSITIVE)).exp();
                average + weight * (value - average)
            }
        };
        self.state = Some((average, now));
    }

    /// The average; `None` before the first sample.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        self.state.map(|(average, _)| average)
    }
}
