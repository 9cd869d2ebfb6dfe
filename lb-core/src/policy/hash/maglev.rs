//! A table of places that endpoints claim in turn.

use xxhash_rust::xxh64::xxh64;

use crate::{pick::next_bits, policy::hash::Table};

const LARGEST: u32 = 5_000_011;
/// Places looked at for one key before it gives up.
const PATIENCE: usize = 64;
const FREE: u32 = u32::MAX;

/// Envoy's Maglev table: one array read per key.
///
/// Each endpoint has a permutation of all places (offset and skip from the
/// xxh64 of its name) and claims its next free one whenever it has a turn; a
/// heavier endpoint has turns more often.
///
/// ```
/// use lb_core::policy::MaglevTable;
///
/// let names = ["90", "91", "92", "93", "94", "95"];
/// let table = MaglevTable::new(names.into_iter().map(|name| (name, 1)), 7);
/// assert_eq!(table.places(), [2, 5, 0, 3, 4, 1, 0]);
/// ```
#[derive(Debug)]
pub struct MaglevTable {
    places: Box<[u32]>,
}

/// A prime within reason.
pub(super) fn is_size(n: u32) -> bool {
    (3..=LARGEST).contains(&n)
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

impl MaglevTable {
    /// A table of `size` places for these endpoints. Empty if no endpoint has weight.
    ///
    /// `size` is to be a prime. Of another size not every place comes round for everybody:
    /// who finds none of its own takes the first that is free.
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a str, u32)>, size: u32) -> Self {
        let endpoints: Vec<_> = endpoints.collect();
        let Some(most) = endpoints
            .iter()
            .map(|(_, weight)| *weight)
            .max()
            .filter(|most| *most > 0 && size > 0)
        else {
            return Self {
                places: Box::default(),
            };
        };
        let mut claims: Vec<Claim> = endpoints
            .iter()
            .map(|(name, weight)| Claim::new(name, *weight, size))
            .collect();
        let mut places = vec![FREE; size as usize];
        let mut free = size;
        for round in 1u64.. {
            for (owner, claim) in (0u32..).zip(&mut claims) {
                if round * u64::from(claim.weight) < claim.turns * u64::from(most)
                    || claim.weight == 0
                {
                    continue;
                }
                claim.turns += 1;
                claim.take(&mut places, owner);
                free -= 1;
                if free == 0 {
                    return Self {
                        places: places.into(),
                    };
                }
            }
        }
        Self {
            places: places.into(),
        }
    }

    /// Who has which place, as positions among the endpoints given.
    #[must_use]
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// Whom a hash belongs to, as the position among the endpoints given.
    #[must_use]
    pub fn owner(&self, hash: u64) -> Option<usize> {
        let n = self.places.len() as u64;
        Some(self.places[hash.checked_rem(n)? as usize] as usize)
    }
}

/// How far one endpoint is.
struct Claim {
    weight: u32,
    turns: u64,
    next: u64,
    skip: u64,
}

impl Claim {
    fn new(name: &str, weight: u32, size: u32) -> Self {
        let size = u64::from(size);
        let next = xxh64(name.as_bytes(), 0) % size;
        let skip = xxh64(name.as_bytes(), 1) % (size - 1).max(1) + 1;
        Self {
            weight,
            turns: 0,
            next,
            skip,
        }
    }

    /// Its next place that is free. There is one: if the size is prime every place comes
    /// round, else any will do.
    fn take(&mut self, places: &mut [u32], owner: u32) {
        for _ in 0..places.len() {
            let place = self.next as usize;
            self.next = (self.next + self.skip) % places.len() as u64;
            if places[place] == FREE {
                places[place] = owner;
                return;
            }
        }
        if let Some(place) = places.iter_mut().find(|place| **place == FREE) {
            *place = owner;
        }
    }
}

impl Table for MaglevTable {
    fn find(&self, key: u64, admits: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let first = self.owner(key)?;
        if admits(first) {
            return Some(first);
        }
        // The key's own sequence of other places: as stable as the table.
        let mut state = key;
        let n = self.places.len();
        let other = |state: &mut u64| self.places[next_bits(state) as usize % n] as usize;
        (0..PATIENCE)
            .map(|_| other(&mut state))
            .find(|owner| admits(*owner))
    }
}
