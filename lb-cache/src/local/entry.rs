//! One entry, small: a hit reads and copies all of it.
//!
//! The three moments of a life share 16 bytes, 40 bits each, which is exact to
//! the millisecond for 34 years of a process; what comes later never comes. What
//! few entries have stands behind one pointer.

use std::sync::Arc;

use crate::freshness::{Age, Life, Moment};

/// What the local tier holds under a key.
#[derive(Debug)]
pub(crate) struct Entry<V> {
    /// `None` says that there is no such value.
    value: Option<Arc<V>>,
    life: Packed,
    rare: Option<Arc<Rare>>,
}

#[derive(Debug)]
struct Rare {
    etag: Arc<str>,
}

impl<V> Clone for Entry<V> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            life: self.life,
            rare: self.rare.clone(),
        }
    }
}

impl<V> Entry<V> {
    /// `etag` is what the source calls this version, for conditional refresh.
    pub(crate) fn new(value: Option<Arc<V>>, life: Life, etag: Option<Arc<str>>) -> Self {
        Self {
            value,
            life: Packed::new(life),
            rare: etag.map(|etag| Arc::new(Rare { etag })),
        }
    }

    pub(crate) fn value(&self) -> Option<&Arc<V>> {
        self.value.as_ref()
    }

    pub(crate) fn etag(&self) -> Option<&Arc<str>> {
        self.rare.as_ref().map(|rare| &rare.etag)
    }

    pub(crate) fn life(&self) -> Life {
        self.life.unpack()
    }

    pub(crate) fn age(&self, now: Moment) -> Age {
        self.life().age(now)
    }

    /// `Ok` while the entry is fresh and not even ageing.
    #[inline]
    pub(crate) fn young(self, now: Moment) -> Result<Arc<V>, Self> {
        match self.value {
            Some(value) if self.life.is_young(now) => Ok(value),
            value => Err(Self { value, ..self }),
        }
    }

    /// The same with another life.
    pub(crate) fn with_life(self, life: Life) -> Self {
        Self {
            life: Packed::new(life),
            ..self
        }
    }
}

/// `ageing_from`, `stale_from`, `dead_from`, from the highest bits to the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed([u64; 2]);

const BITS: u32 = 40;
const NEVER: u64 = (1 << BITS) - 1;

impl Packed {
    fn new(life: Life) -> Self {
        let bits = |moment: Moment| u128::from(moment.0.min(NEVER));
        let all = bits(life.ageing_from) << (2 * BITS)
            | bits(life.stale_from) << BITS
            | bits(life.dead_from);
        Self([(all >> u64::BITS) as u64, all as u64])
    }

    fn unpack(self) -> Life {
        let all = u128::from(self.0[0]) << u64::BITS | u128::from(self.0[1]);
        let moment = |shift| match (all >> shift) as u64 & NEVER {
            NEVER => Moment::NEVER,
            moment => Moment(moment),
        };
        Life {
            ageing_from: moment(2 * BITS),
            stale_from: moment(BITS),
            dead_from: moment(0),
        }
    }

    /// Is it fresh, and not ageing?
    #[inline]
    fn is_young(self, now: Moment) -> bool {
        now.0 < self.0[0] >> (2 * BITS - u64::BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn life() -> impl Strategy<Value = Life> {
        let moment = || prop_oneof![0..=NEVER + 1, Just(u64::MAX)].prop_map(Moment);
        (moment(), moment(), moment()).prop_map(|(ageing_from, stale_from, dead_from)| Life {
            ageing_from,
            stale_from,
            dead_from,
        })
    }

    fn rounded(moment: Moment) -> Moment {
        if moment.0 < NEVER {
            moment
        } else {
            Moment::NEVER
        }
    }

    proptest! {
        /// Packing changes no moment of the next 34 years.
        #[test]
        fn what_is_packed_comes_back(life in life()) {
            let back = Packed::new(life).unpack();
            prop_assert_eq!(back.ageing_from, rounded(life.ageing_from));
            prop_assert_eq!(back.stale_from, rounded(life.stale_from));
            prop_assert_eq!(back.dead_from, rounded(life.dead_from));
        }

        /// The short question has the long one's answer.
        #[test]
        fn young_is_fresh_and_not_ageing(life in life(), near in 0u64..3, now in 0..NEVER - 1) {
            for now in [now, (life.ageing_from.0.min(NEVER - 3) + near).saturating_sub(1)] {
                let young = now < rounded(life.ageing_from).0;
                prop_assert_eq!(Packed::new(life).is_young(Moment(now)), young);
            }
        }
    }

    #[test]
    fn an_entry_is_no_larger_than_it_must_be() {
        assert_eq!(size_of::<Entry<[u8; 1_024]>>(), 32);
    }
}
