//! Highest random weight.

use xxhash_rust::xxh3::xxh3_64;

use crate::policy::hash::Table;

/// Every endpoint draws a number for every key, heavier ones draw better; the
/// best wins. Thaler and Ravishankar 1998, weighted by the logarithmic method.
///
/// ```
/// use lb_core::policy::Rendezvous;
///
/// let all = Rendezvous::new([("a", 1), ("b", 1), ("c", 1)].into_iter());
/// let owner = all.owner(42);
/// assert_eq!(owner, all.owner(42));
/// ```
#[derive(Debug)]
pub struct Rendezvous(Box<[(u64, f64)]>);

impl Rendezvous {
    /// These endpoints, by name and weight.
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a str, u32)>) -> Self {
        Self(
            endpoints
                .map(|(name, weight)| (xxh3_64(name.as_bytes()), f64::from(weight)))
                .collect(),
        )
    }

    /// Whom a hash belongs to, as the position among the endpoints given.
    #[must_use]
    pub fn owner(&self, hash: u64) -> Option<usize> {
        self.find(hash, &mut |_| true)
    }
}

impl Table for Rendezvous {
    fn find(&self, key: u64, admits: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let mut best = (None, f64::NEG_INFINITY);
        for (owner, (name, weight)) in self.0.iter().enumerate() {
            let drawn = draw(*name, key, *weight);
            if drawn > best.1 && admits(owner) {
                best = (Some(owner), drawn);
            }
        }
        best.0
    }
}

/// An exponential variate of rate `1 / weight`, negated twice: higher is better.
fn draw(name: u64, key: u64, weight: f64) -> f64 {
    if weight <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let mut z = name ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    z ^= z >> 32;
    // In (0, 1): 53 bits and half a step.
    let unit = ((z >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0;
    -weight / unit.ln()
}
