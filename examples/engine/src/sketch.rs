//! Percentiles of a billion numbers in a megabyte and a half.
//!
//! A [`Sketch`] counts values in buckets whose width grows with the distance
//! from a *centre* that is fixed beforehand: 1024 buckets for every doubling of
//! the distance, read straight off the bits of the floating-point number (the
//! idea of HdrHistogram and DDSketch, measured from the centre instead of from
//! zero, so that values like 1 000 000 ± 1 are told apart too).
//!
//! The counters are integers: merging is exact and the order does not matter.
//!
//! # Limits
//!
//! * Error of a percentile: at most 2^-10 of its distance from the centre, plus
//!   2^-20 of the `scale`.
//! * Beyond 2^64 times the scale from the centre everything falls into the last bucket.
//! * Memory: 8 KiB per doubling that occurs, at most 1.4 MiB.
//!
//! ```
//! use montecarlo::sketch::Sketch;
//!
//! let mut sketch = Sketch::new(50.0, 10.0);
//! (0..=100).for_each(|value| sketch.add(f64::from(value)));
//! let median = sketch.buckets().quantile(0.5);
//! assert!((median - 50.0).abs() < 1.0);
//! ```

use crate::buckets::{Bucket, Buckets};

/// Exponents of two, in units of the scale, between which values are told apart.
const LOWEST: i64 = -20;
const HIGHEST: i64 = 63;
const SLOT_BITS: u32 = 10;
const SLOTS: usize = 1 << SLOT_BITS;

/// The largest error of a percentile, as a share of its distance from the centre.
pub const RESOLUTION: f64 = 1.0 / SLOTS as f64;

/// Counts values by their distance from a centre.
#[derive(Clone, Debug)]
pub struct Sketch {
    centre: f64,
    scale: f64,
    at_centre: u64,
    below: Side,
    above: Side,
}

/// One page of counters per doubling of the distance, made when first needed.
#[derive(Clone, Debug, Default)]
struct Side {
    pages: Vec<Option<Box<[u64]>>>,
}

// === impl Sketch ===

impl Sketch {
    /// An empty sketch. `scale` is the distance that matters, for instance a
    /// standard deviation; one that is not a positive number counts as 1.
    #[must_use]
    pub fn new(centre: f64, scale: f64) -> Self {
        let usable = scale.is_finite() && scale > 0.0;
        Self {
            centre,
            scale: if usable { scale } else { 1.0 },
            at_centre: 0,
            below: Side::default(),
            above: Side::default(),
        }
    }

    /// Counts one finite value.
    pub fn add(&mut self, value: f64) {
        let distance = (value - self.centre) / self.scale;
        match locate(distance.abs()) {
            None => self.at_centre += 1,
            Some(place) if distance < 0.0 => self.below.count(place, 1),
            Some(place) => self.above.count(place, 1),
        }
    }

    /// Adds all that `other` counted. Both must have the same centre and scale.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!((self.centre, self.scale), (other.centre, other.scale));
        self.at_centre += other.at_centre;
        self.below.merge(&other.below);
        self.above.merge(&other.above);
    }

    /// The filled buckets, in ascending order.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        let mut list: Vec<Bucket> = Vec::new();
        let at = |distance: f64| self.centre + distance * self.scale;
        for (near, far, count) in self.below.filled().into_iter().rev() {
            list.push(Bucket {
                low: at(-far),
                high: at(-near),
                count,
            });
        }
        if self.at_centre > 0 {
            let reach = 2_f64.powi(LOWEST as i32);
            list.push(Bucket {
                low: at(-reach),
                high: at(reach),
                count: self.at_centre,
            });
        }
        for (near, far, count) in self.above.filled() {
            list.push(Bucket {
                low: at(near),
                high: at(far),
                count,
            });
        }
        Buckets::new(list)
    }
}

/// Page and slot of a distance in units of the scale; `None` at the centre.
fn locate(distance: f64) -> Option<(usize, usize)> {
    let bits = distance.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    if exponent < LOWEST {
        return None;
    }
    if exponent > HIGHEST {
        return Some(((HIGHEST - LOWEST) as usize, SLOTS - 1));
    }
    let slot = (bits >> (52 - SLOT_BITS)) as usize & (SLOTS - 1);
    Some(((exponent - LOWEST) as usize, slot))
}

// === impl Side ===

impl Side {
    fn count(&mut self, (page, slot): (usize, usize), times: u64) {
        self.page(page)[slot] += times;
    }

    fn page(&mut self, index: usize) -> &mut [u64] {
        if self.pages.len() <= index {
            self.pages.resize(index + 1, None);
        }
        self.pages[index].get_or_insert_with(|| vec![0; SLOTS].into_boxed_slice())
    }

    fn merge(&mut self, other: &Self) {
        for (index, page) in other.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            for (mine, theirs) in self.page(index).iter_mut().zip(page) {
                *mine += theirs;
            }
        }
    }

    /// Near end, far end and count of each filled bucket, nearest first.
    fn filled(&self) -> Vec<(f64, f64, u64)> {
        let mut list = Vec::new();
        for (index, page) in self.pages.iter().enumerate() {
            let start = 2_f64.powi(index as i32 + LOWEST as i32);
            for (slot, count) in page.iter().flatten().enumerate() {
                if *count > 0 {
                    let edge = |n: usize| start * (1.0 + n as f64 * RESOLUTION);
                    list.push((edge(slot), edge(slot + 1), *count));
                }
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The promised error bound, against the exact percentile of the sorted values.
        #[test]
        fn percentiles_keep_their_error_bound(
            mut values in prop::collection::vec(-1e9..1e9_f64, 1..300),
            centre in -1e6..1e6_f64, scale in 1e-3..1e6_f64, share in 0.0..1.0_f64,
        ) {
            let mut sketch = Sketch::new(centre, scale);
            values.iter().for_each(|v| sketch.add(*v));
            values.sort_by(f64::total_cmp);
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let got = sketch.buckets().quantile(share);
            let bound = RESOLUTION * (exact - centre).abs() * 1.01 + scale * 2_f64.powi(-19);
            prop_assert!((got - exact).abs() <= bound, "{got} is not {exact}");
        }

        /// Any split, any order: the same counters.
        #[test]
        fn merging_loses_nothing(values in prop::collection::vec(-1e3..1e3_f64, 0..200), cut in 0usize..200) {
            let cut = cut.min(values.len());
            let [mut left, mut right, mut whole] = [(); 3].map(|()| Sketch::new(0.0, 1.0));
            values[..cut].iter().for_each(|v| left.add(*v));
            values[cut..].iter().for_each(|v| right.add(*v));
            values.iter().for_each(|v| whole.add(*v));
            right.merge(&left);
            prop_assert_eq!(right.buckets(), whole.buckets());
        }
    }

    #[test]
    fn the_farthest_numbers_are_counted_and_cost_no_more_memory() {
        let mut sketch = Sketch::new(0.0, 1.0);
        for value in [1e140, -1e140, 0.0, f64::MIN_POSITIVE] {
            sketch.add(value);
        }
        assert_eq!(sketch.buckets().count(), 4);
        assert!(sketch.above.pages.len() <= 84);
    }
}
