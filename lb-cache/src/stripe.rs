//! Which stripe of a striped counter belongs to this thread alone?
//!
//! A counter of which each thread owns a stripe is counted with a load and a
//! store. A read-modify-write would cost about a sixth of a whole hit of the fast
//! engine, even on a cache line that nobody else touches.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// So many threads own a stripe at a time.
pub(crate) const OWN: usize = u32::BITS as usize;
/// The stripe that all other threads share.
pub(crate) const SHARED: usize = OWN;

const UNKNOWN: usize = usize::MAX;

/// One bit per stripe that has an owner.
struct Owned(AtomicU32);

static OWNED: Owned = Owned(AtomicU32::new(0));

thread_local! {
    /// What this thread counts in; needs no destructor, so it is always there.
    static MINE: Cell<usize> = const { Cell::new(UNKNOWN) };
    /// Gives the stripe back when the thread ends.
    static LEASE: Lease<'static> = OWNED.lease();
}

/// The stripe of this thread: below [`OWN`] nobody else writes to it, or [`SHARED`].
#[inline]
pub(crate) fn mine() -> usize {
    match MINE.get() {
        UNKNOWN => settle(),
        stripe => stripe,
    }
}

#[cold]
fn settle() -> usize {
    let stripe = LEASE.try_with(|lease| lease.stripe).unwrap_or(SHARED);
    MINE.set(stripe);
    stripe
}

struct Lease<'a> {
    stripe: usize,
    owned: &'a Owned,
}

impl Owned {
    fn lease(&self) -> Lease<'_> {
        let free = |owned: u32| (owned != u32::MAX).then(|| owned | (owned + 1));
        // Acquire: what the last owner counted is there before this one counts on.
        let before = self
            .0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, free);
        let stripe = before.map_or(SHARED, |owned| owned.trailing_ones() as usize);
        Lease {
            stripe,
            owned: self,
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.stripe != SHARED {
            // Destructors that run after this one may still count.
            MINE.set(SHARED);
            // Release: see `lease`.
            self.owned
                .0
                .fetch_and(!(1 << self.stripe), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_stripes_of_their_own_and_give_them_back() {
        let owned = Owned(AtomicU32::new(0));
        let mut leases: Vec<_> = (0..OWN).map(|_| owned.lease()).collect();
        let stripes: Vec<usize> = leases.iter().map(|lease| lease.stripe).collect();
        assert_eq!(stripes, (0..OWN).collect::<Vec<_>>());
        assert_eq!(owned.lease().stripe, SHARED, "one thread too many");
        assert_eq!(leases.remove(7).stripe, 7);
        assert_eq!(owned.lease().stripe, 7, "free again");
    }

    #[test]
    fn a_thread_keeps_its_stripe() {
        let here = mine();
        assert_eq!(mine(), here);
    }
}
