//! Points on a circle of hashes.

use xxhash_rust::xxh64::xxh64;

use crate::policy::hash::Table;

/// More points than this are not placed: weights are scaled down instead.
const MOST_POINTS: u64 = 1 << 22;
/// Places looked at for one key before it gives up.
pub(super) const PATIENCE: usize = 256;

/// Envoy's ring: point `i` of an endpoint is `xxh64(name + "_" + i)`; a hash
/// belongs to the first point at or after it, around the circle.
///
/// ```
/// use lb_core::policy::HashRing;
///
/// let ring = HashRing::new([("a", 1), ("b", 1)].into_iter(), 160);
/// assert!(matches!(ring.owner(42), Some(0 | 1)));
/// ```
#[derive(Debug)]
pub struct HashRing(Circle<u64>);

impl HashRing {
    /// A ring of these endpoints with `points` per unit of weight.
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a str, u32)>, points: u32) -> Self {
        let endpoints: Vec<_> = endpoints.collect();
        let wanted = |weight: u32| u64::from(points) * u64::from(weight);
        let total: u64 = endpoints.iter().map(|(_, weight)| wanted(*weight)).sum();
        let scale = MOST_POINTS as f64 / total.max(MOST_POINTS) as f64;
        let mut placed = Vec::new();
        let mut text = String::new();
        for (owner, (name, weight)) in (0u32..).zip(&endpoints) {
            let points = ((wanted(*weight) as f64 * scale) as u64).max(u64::from(*weight > 0));
            for i in 0..points {
                text.clear();
                text.push_str(name);
                text.push('_');
                text.push_str(itoa(i).as_str());
                placed.push((xxh64(text.as_bytes(), 0), owner));
            }
        }
        Self(Circle::new(placed))
    }

    /// Whom a hash belongs to, as the position among the endpoints given.
    #[must_use]
    pub fn owner(&self, hash: u64) -> Option<usize> {
        self.find(hash, &mut |_| true)
    }
}

fn itoa(i: u64) -> String {
    i.to_string()
}

impl Table for HashRing {
    fn find(&self, key: u64, admits: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        self.0.find(key, admits)
    }
}

/// A position on a circle.
pub(super) trait Position: Copy + Ord + std::fmt::Debug + Send + Sync {
    const BITS: u32;
    fn high_bits(self, bits: u32) -> usize;
}

impl Position for u64 {
    const BITS: u32 = Self::BITS;
    fn high_bits(self, bits: u32) -> usize {
        (self >> (<Self as Position>::BITS - bits)) as usize
    }
}

impl Position for u32 {
    const BITS: u32 = Self::BITS;
    fn high_bits(self, bits: u32) -> usize {
        (self >> (<Self as Position>::BITS - bits)) as usize
    }
}

/// Sorted points with an index over their high bits, so that a look-up takes a
/// few steps however many points there are.
#[derive(Debug)]
pub(super) struct Circle<P> {
    points: Box<[(P, u32)]>,
    starts: Box<[u32]>,
    bits: u32,
}

impl<P: Position> Circle<P> {
    /// Of two points at one position the first given stays.
    pub(super) fn new(mut points: Vec<(P, u32)>) -> Self {
        points.sort_by_key(|(position, _)| *position);
        points.dedup_by_key(|(position, _)| *position);
        let bits = (usize::BITS - points.len().leading_zeros()).clamp(1, 22);
        let mut starts = vec![0; 1 << bits];
        let mut at = 0;
        for (prefix, start) in starts.iter_mut().enumerate() {
            while at < points.len() && points[at].0.high_bits(bits) < prefix {
                at += 1;
            }
            *start = at as u32;
        }
        Self {
            points: points.into(),
            starts: starts.into(),
            bits,
        }
    }

    /// From the first point at or after `position` around the circle.
    pub(super) fn find(&self, position: P, admits: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let mut at = *self.starts.get(position.high_bits(self.bits))? as usize;
        while self
            .points
            .get(at)
            .is_some_and(|(point, _)| *point < position)
        {
            at += 1;
        }
        let n = self.points.len();
        let mut refused = None;
        for step in 0..n.min(PATIENCE) {
            let owner = self.points[(at + step) % n].1 as usize;
            if refused != Some(owner) {
                if admits(owner) {
                    return Some(owner);
                }
                refused = Some(owner);
            }
        }
        None
    }
}
