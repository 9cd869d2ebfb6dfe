//! Mean and variance that can be computed in parts.
//!
//! Within a part: Welford's recurrence. Between parts: the pairwise update of
//! Chan, Golub and LeVeque (1979). Floating-point sums depend on their order,
//! so the engine merges the parts of a run in the order of their chunks.

/// Count, mean, spread and range of what has been added so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moments {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    squares: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let total = (self.count + other.count) as f64;
        let delta = other.mean - self.mean;
        let share = other.count as f64 / total;
        self.squares += other.squares + delta * delta * self.count as f64 * share;
        self.mean += delta * share;
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The standard deviation of the sample (`n - 1` below the root).
    pub(crate) fn std_dev(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        (self.squares / (self.count - 1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Moments {
        values.iter().fold(Moments::default(), |mut m, v| {
            m.add(*v);
            m
        })
    }

    proptest! {
        /// Parts say the same as the whole.
        #[test]
        fn merged_parts_equal_the_whole(values in prop::collection::vec(-1e6..1e6_f64, 2..200), cut in 0usize..200) {
            let cut = cut.min(values.len());
            let mut merged = of(&values[..cut]);
            merged.merge(&of(&values[cut..]));
            let whole = of(&values);
            prop_assert_eq!(merged.count, whole.count);
            prop_assert!((merged.mean - whole.mean).abs() < 1e-6);
            prop_assert!((merged.std_dev() - whole.std_dev()).abs() < 1e-6);
            prop_assert_eq!((merged.min, merged.max), (whole.min, whole.max));
        }
    }
}
