//! Questions to a list of counted intervals: quantile, tail mean, histogram.

/// How many values fell between two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Values counted.
    pub count: u64,
}

impl Bucket {
    fn middle(&self) -> f64 {
        self.low + (self.high - self.low) / 2.0
    }
}

/// Filled buckets in ascending order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    list: Vec<Bucket>,
    count: u64,
}

impl Buckets {
    pub(crate) fn new(list: Vec<Bucket>) -> Self {
        let count = list.iter().map(|bucket| bucket.count).sum();
        Self { list, count }
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value that a `share` of all values does not exceed, interpolated
    /// within its bucket. NaN when nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = share.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0.0;
        for bucket in &self.list {
            let count = bucket.count as f64;
            if below + count >= rank {
                let part = ((rank - below) / count).clamp(0.0, 1.0);
                return bucket.low + (bucket.high - bucket.low) * part;
            }
            below += count;
        }
        self.list.last().map_or(f64::NAN, |bucket| bucket.high)
    }

    /// The mean of the lowest `share` of all values. NaN when nothing was counted.
    #[must_use]
    pub fn lower_tail_mean(&self, share: f64) -> f64 {
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).max(1.0);
        let (mut taken, mut mean) = (0.0, 0.0);
        for bucket in &self.list {
            let take = (bucket.count as f64).min(wanted - taken);
            if take <= 0.0 {
                break;
            }
            taken += take;
            mean += (bucket.middle() - mean) * take / taken;
        }
        if taken > 0.0 { mean } else { f64::NAN }
    }

    /// Counts in `bins` equal intervals from `low` to `high`, and what lies
    /// below and above them.
    #[must_use]
    pub fn histogram(&self, low: f64, high: f64, bins: usize) -> (u64, Vec<u64>, u64) {
        let (mut below, mut counts, mut above) = (0, vec![0; bins], 0);
        let width = (high - low) / bins as f64;
        for bucket in &self.list {
            let middle = bucket.middle();
            if middle < low {
                below += bucket.count;
            } else if middle > high {
                above += bucket.count;
            } else {
                let bin = if width > 0.0 {
                    (middle - low) / width
                } else {
                    0.0
                };
                counts[(bin as usize).min(bins - 1)] += bucket.count;
            }
        }
        (below, counts, above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Buckets {
        Buckets::new(vec![
            Bucket {
                low: 0.0,
                high: 2.0,
                count: 1,
            },
            Bucket {
                low: 4.0,
                high: 6.0,
                count: 3,
            },
        ])
    }

    #[test]
    fn the_tail_mean_takes_a_part_of_the_last_bucket_it_needs() {
        assert_eq!(two().lower_tail_mean(0.25), 1.0);
        assert_eq!(two().lower_tail_mean(0.5), 3.0);
        assert_eq!(two().lower_tail_mean(1.0), 4.0);
    }

    #[test]
    fn a_histogram_conserves_the_count() {
        let (below, bins, above) = two().histogram(2.0, 4.5, 5);
        assert_eq!((below, bins.iter().sum::<u64>(), above), (1, 0, 3));
        let (below, bins, above) = two().histogram(0.0, 6.0, 3);
        assert_eq!((below, bins, above), (0, vec![1, 0, 3], 0));
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert!(Buckets::default().quantile(0.5).is_nan());
        assert!(Buckets::default().lower_tail_mean(0.5).is_nan());
    }
}
