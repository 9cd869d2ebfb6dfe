//! What each thread keeps of the pools it picks from.
//!
//! A pick needs the snapshot and a reference to an endpoint that outlives the pick. Both
//! cost two atomic operations if they are taken anew each time. So a thread keeps the
//! snapshot, and per endpoint one reference that no request uses now: a pick takes it, the
//! end of a request leaves it with whichever thread that is.
//!
//! A pool that is gone is swept out by the next pick that meets a new snapshot: a thread
//! that never picks again holds on to the last snapshot it saw.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    candidates::Entry,
    endpoint::{Endpoint, EndpointId, Seat},
    error::PickError,
    pick::PickCx,
    pool::{counted::Picked, lease::Lease, snapshot::Snapshot},
};

/// Pools that one thread keeps at once; beyond that they take turns.
pub(super) const PLACES: usize = 64;
/// Names that one thread knows the place of, per pool.
const GUESSES: usize = 64;

type Places = [RefCell<Option<Known>>; PLACES];

thread_local! {
    static KNOWN: Places = const { [const { RefCell::new(None) }; PLACES] };
}

/// What one thread knows of one pool.
pub(crate) struct Known {
    version: u64,
    snapshot: Arc<Snapshot>,
    /// By the index of the endpoint.
    spare: Box<[Spare]>,
    /// Where bound requests found their endpoints last, by a few bits of the address of
    /// their names. Not more than guesses: the name is compared.
    guesses: [Cell<u32>; GUESSES],
    pool: Weak<()>,
}

/// A reference to an endpoint that no request uses now.
struct Spare {
    /// Address of the endpoint. The snapshot keeps it from being used again.
    of: usize,
    endpoint: Cell<Option<Arc<Endpoint>>>,
}

/// Where threads keep the next pool.
pub(super) fn next_place() -> u8 {
    static POOLS: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only that the numbers differ matters.
    (POOLS.fetch_add(1, Ordering::Relaxed) % PLACES) as u8
}

#[inline]
fn slot(all: &Places, place: u8) -> &RefCell<Option<Known>> {
    &all[usize::from(place) % PLACES]
}

/// Runs `read` on what this thread keeps there. `None` if that is nothing, and while the
/// thread ends.
#[inline]
pub(super) fn kept<R>(place: u8, read: impl FnOnce(&Known) -> R) -> Option<R> {
    let read = |all: &Places| {
        let known = slot(all, place).try_borrow().ok()?;
        known.as_ref().map(read)
    };
    KNOWN.try_with(read).ok().flatten()
}

/// Keeps that from now on; what was kept is dropped, or the new one if the old is in use.
pub(super) fn replace(place: u8, known: Option<Known>) {
    let swap = |all: &Places| match slot(all, place).try_borrow_mut() {
        Ok(mut kept) => std::mem::replace(&mut *kept, known),
        Err(_) => known,
    };
    // Dropped when nothing is borrowed any more: it may hold what others wrote.
    drop(KNOWN.try_with(swap));
}

/// Takes out what this thread keeps there; nothing while it is in use.
pub(super) fn take(place: u8) -> Option<Known> {
    let take = |all: &Places| slot(all, place).try_borrow_mut().ok()?.take();
    KNOWN.try_with(take).ok().flatten()
}

/// Lets go of pools that are gone.
pub(super) fn sweep() {
    for place in 0..PLACES as u8 {
        if kept(place, |known| known.pool.strong_count() == 0) == Some(true) {
            replace(place, None);
        }
    }
}

// === impl Known ===

impl Known {
    pub(super) fn new(snapshot: Arc<Snapshot>, pool: &Arc<()>) -> Self {
        let spare = |entry: &Entry| Spare {
            of: Arc::as_ptr(&entry.endpoint).addr(),
            endpoint: Cell::new(None),
        };
        Self {
            version: snapshot.version,
            spare: snapshot.candidates.entries.iter().map(spare).collect(),
            guesses: [const { Cell::new(0) }; GUESSES],
            pool: Arc::downgrade(pool),
            snapshot,
        }
    }

    /// Whether what this keeps of each member holds for that snapshot, too.
    pub(super) fn has_members_of(&self, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(
            &self.snapshot.candidates.entries,
            &snapshot.candidates.entries,
        )
    }

    /// The same for a snapshot of the same members.
    pub(super) fn renewed(self, snapshot: Arc<Snapshot>) -> Self {
        Self {
            version: snapshot.version,
            snapshot,
            ..self
        }
    }

    /// Whether this is what that version says.
    #[inline]
    pub(super) fn is(&self, version: u64) -> bool {
        self.version == version
    }

    #[inline]
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Chooses an endpoint and counts the request there.
    #[inline]
    pub(super) fn pick(&self, cx: &PickCx<'_>) -> Option<Picked> {
        let index = self.snapshot.pick(cx)?;
        Some(self.picked(index, cx))
    }

    /// Counts a request at the endpoint that it is bound to.
    #[inline]
    pub(super) fn pick_bound(
        &self,
        id: &EndpointId,
        incarnation: Option<u64>,
        cx: &PickCx<'_>,
    ) -> Result<Picked, PickError> {
        let index = self.index(id).ok_or(PickError::Unknown)?;
        self.snapshot.enter_bound(index, incarnation, cx)?;
        Ok(self.picked(index, cx))
    }

    /// Where the endpoint of that name is. Requests of one session bring one name, that is
    /// one address: where it was last time is looked at first.
    #[inline]
    fn index(&self, id: &EndpointId) -> Option<usize> {
        let bits = id.as_str().as_ptr().addr() / size_of::<usize>();
        let guess = self.guesses.get(bits % GUESSES)?;
        let entries = &self.snapshot.candidates.entries;
        let guessed = entries.get(guess.get() as usize);
        if guessed.is_some_and(|entry| entry.endpoint.id().is(id)) {
            return Some(guess.get() as usize);
        }
        let index = self.snapshot.index(id)?;
        guess.set(index as u32);
        Some(index)
    }

    /// As [`pick`](Self::pick), with all that the quick way leaves out.
    pub(crate) fn pick_closely(&self, cx: &PickCx<'_>) -> Result<Lease, PickError> {
        let snapshot = &*self.snapshot;
        let Some(index) = snapshot.pick(cx) else {
            return Err(no_endpoint(snapshot.candidates.len()));
        };
        let lease = Lease::new(self.picked(index, cx).into(), cx);
        Ok(match &snapshot.shadow {
            None => lease,
            Some(shadow) => lease.with_shadow(shadow.pick(cx, index)),
        })
    }

    /// The request that was counted at `index`.
    #[inline]
    pub(crate) fn picked(&self, index: usize, cx: &PickCx<'_>) -> Picked {
        let spare = self
            .spare
            .get(index)
            .and_then(|spare| spare.endpoint.take());
        let endpoint = spare.unwrap_or_else(|| self.another(index));
        let timed = self.snapshot.times(index, cx);
        Picked { endpoint, timed }
    }

    /// Several requests of this thread are at this endpoint, or it is the first.
    #[cold]
    #[inline(never)]
    fn another(&self, index: usize) -> Arc<Endpoint> {
        Arc::clone(&self.snapshot.candidates.entries[index].endpoint)
    }
}

#[cold]
fn no_endpoint(known: usize) -> PickError {
    if known == 0 {
        PickError::Empty
    } else {
        PickError::NoneAvailable { known }
    }
}

/// Leaves the reference in `endpoint` with this thread, for its next request there, if the
/// thread knows that endpoint.
#[inline]
pub(super) fn give_back(seat: Seat, address: usize, endpoint: &mut Option<Arc<Endpoint>>) {
    let keep = |known: &Known| {
        // What lay there goes with the caller, when nothing is borrowed any more.
        let spare = known.spare.get(seat.index as usize);
        if let Some(spare) = spare.filter(|spare| spare.of == address) {
            *endpoint = spare.endpoint.replace(endpoint.take());
        }
    };
    // Without a place to keep it the reference is dropped as any other.
    kept(seat.place, keep).unwrap_or_default();
}
