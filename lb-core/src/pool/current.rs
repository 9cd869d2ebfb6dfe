//! The snapshot of the moment, and what each thread keeps of it.
//!
//! Taking a guard of an [`ArcSwap`] costs two atomic exchanges, and cloning the
//! `Arc` of an endpoint two more by the time the request ends: together twice
//! what counting the request costs. So each thread keeps, per pool, the snapshot
//! it saw last and looks at one shared number to know whether that is still the
//! current one; and it keeps the handles of requests that ended, one per endpoint.
//!
//! What a thread keeps is replaced by its next pick after a change, and a pool
//! that is gone is swept out by the next pick that meets a new snapshot: a thread
//! that never picks again holds on to the last snapshot it saw. Old snapshots are
//! freed by whoever makes the next change, not on the way of a request.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};

use crate::{
    candidates::Entry,
    endpoint::Endpoint,
    error::PickError,
    pick::PickCx,
    pool::{
        lease::Lease,
        snapshot::{self, Snapshot},
    },
};

/// Pools that one thread keeps at once; beyond that they take turns.
const PLACES: usize = 64;

thread_local! {
    static KNOWN: [RefCell<Option<Known>>; PLACES] =
        const { [const { RefCell::new(None) }; PLACES] };
}

/// Why picks must look closer than the quick way does: marks on the version. No thread
/// keeps a version with a mark, so that one comparison finds out all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Mark {
    /// A circuit waits for its trial.
    Trial = 1,
    /// The requests of the upstream have a limit.
    Limit = 2,
    /// A shadow policy watches.
    Shadow = 4,
}

const MARKS: u64 = snapshot::VERSION_STEP - 1;

/// The current snapshot of one pool.
pub(crate) struct Current {
    /// The version of that snapshot, and the marks. No two versions of a process are
    /// equal, whatever their pool.
    version: AtomicU64,
    place: usize,
    snapshot: ArcSwap<Snapshot>,
    alive: Arc<()>,
}

/// What one thread knows of one pool.
pub(crate) struct Known {
    version: u64,
    snapshot: Arc<Snapshot>,
    /// By the index of the endpoint.
    spare: Box<[Spare]>,
    place: u8,
    pool: Weak<()>,
}

/// A reference to an endpoint that no request uses now.
struct Spare {
    /// Address of the endpoint. The snapshot keeps it from being used again.
    of: usize,
    endpoint: Cell<Option<Arc<Endpoint>>>,
}

// === impl Current ===

impl Current {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        static POOLS: AtomicUsize = AtomicUsize::new(0);
        Self {
            version: AtomicU64::new(snapshot.version),
            // Relaxed: only that the numbers differ matters.
            place: POOLS.fetch_add(1, Ordering::Relaxed) % PLACES,
            snapshot: ArcSwap::from_pointee(snapshot),
            alive: Arc::new(()),
        }
    }

    /// For everything but picks.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Makes it the current one; returns the one before. Marks stay as they are.
    pub(crate) fn install(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let version = snapshot.version;
        let before = self.snapshot.swap(Arc::new(snapshot));
        let marked = |old: u64| Some(version | (old & MARKS));
        // Release: who sees this version finds its snapshot, or a later one.
        let _ = self
            .version
            .fetch_update(Ordering::Release, Ordering::Relaxed, marked);
        before
    }

    /// From now on picks look closer, or no longer, for this reason.
    pub(crate) fn mark(&self, why: Mark, on: bool) {
        // Release: as `install`; what the mark is about was written before.
        if on {
            self.version.fetch_or(why as u64, Ordering::Release);
        } else {
            self.version.fetch_and(!(why as u64), Ordering::Release);
        }
    }

    /// The quick way of most picks: chooses and counts. `None` if this thread does not
    /// know the current snapshot, if picks must look closer, or if nobody was found.
    #[inline]
    pub(crate) fn pick(&self, cx: &PickCx<'_>) -> Option<Picked> {
        // Acquire: as `install`. A version with a mark is known to nobody.
        let version = self.version.load(Ordering::Acquire);
        let pick = |known: &Known| (known.version == version).then(|| known.pick(cx)).flatten();
        kept(self.place, pick).flatten()
    }

    /// Runs `read` on what this thread knows of the pool.
    pub(crate) fn with<R>(&self, read: impl FnOnce(&Known) -> R) -> R {
        // Acquire: as `install`.
        let version = self.version.load(Ordering::Acquire) & !MARKS;
        let mut read = Some(read);
        let known = kept(self.place, |known| {
            let read = read.take_if(|_| known.version == version)?;
            Some(read(known))
        });
        match (known.flatten(), read) {
            (None, Some(read)) => self.meet(read),
            (answer, _) => answer.expect("invariant: read was called, or is left"),
        }
    }

    /// Runs `read` until it succeeds, or fails on a snapshot that is still the
    /// current one afterwards.
    pub(crate) fn with_settled<R, E>(&self, read: impl Fn(&Known) -> Result<R, E>) -> Result<R, E> {
        loop {
            // Acquire: as `install`.
            let version = self.version.load(Ordering::Acquire) & !MARKS;
            let answer = self.with(&read);
            let now_is = self.version.load(Ordering::Acquire) & !MARKS;
            if answer.is_ok() || now_is == version {
                return answer;
            }
        }
    }

    /// The first look at a snapshot: this thread keeps it for the next ones.
    #[cold]
    #[inline(never)]
    fn meet<R>(&self, read: impl FnOnce(&Known) -> R) -> R {
        sweep();
        let snapshot = self.snapshot.load_full();
        let spare = |entry: &Entry| Spare {
            of: Arc::as_ptr(&entry.endpoint).addr(),
            endpoint: Cell::new(None),
        };
        let known = Known {
            version: snapshot.version,
            spare: snapshot.candidates.entries.iter().map(spare).collect(),
            place: self.place as u8,
            pool: Arc::downgrade(&self.alive),
            snapshot,
        };
        // Not kept while in use: a picker that itself picks finds another one.
        let answer = read(&known);
        replace(self.place, Some(known));
        answer
    }
}

/// Runs `read` on what this thread keeps there. `None` if that is nothing, and while the
/// thread ends.
#[inline]
fn kept<R>(place: usize, read: impl FnOnce(&Known) -> R) -> Option<R> {
    let read = |all: &[RefCell<Option<Known>>; PLACES]| {
        let known = all[place % PLACES].try_borrow().ok()?;
        known.as_ref().map(read)
    };
    KNOWN.try_with(read).ok().flatten()
}

/// Keeps that from now on; what was kept is dropped, or the new one if the old is in use.
fn replace(place: usize, known: Option<Known>) {
    let swap = |all: &[RefCell<Option<Known>>; PLACES]| match all[place].try_borrow_mut() {
        Ok(mut kept) => std::mem::replace(&mut *kept, known),
        Err(_) => known,
    };
    // Dropped when nothing is borrowed any more: it may hold what others wrote.
    drop(KNOWN.try_with(swap));
}

/// Lets go of pools that are gone.
fn sweep() {
    for place in 0..PLACES {
        if kept(place, |known| known.pool.strong_count() == 0) == Some(true) {
            replace(place, None);
        }
    }
}

// === impl Known ===

impl Known {
    #[inline]
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Chooses an endpoint and counts the request there.
    #[inline]
    fn pick(&self, cx: &PickCx<'_>) -> Option<Picked> {
        let index = self.snapshot.pick(cx)?;
        Some(Picked {
            timed: self.snapshot.timed || cx.is_sampled(),
            handle: self.handle(index),
        })
    }

    /// The same, with all that the quick way leaves out.
    pub(crate) fn pick_closely(&self, cx: &PickCx<'_>) -> Result<Lease, PickError> {
        let snapshot = &*self.snapshot;
        let Some(index) = snapshot.pick(cx) else {
            return Err(no_endpoint(snapshot.candidates.len()));
        };
        let timed = snapshot.timed || cx.is_sampled();
        let lease = Lease::new(self.handle(index), timed, cx.known_now());
        Ok(match &snapshot.shadow {
            None => lease,
            Some(shadow) => lease.with_shadow(shadow.pick(cx, index)),
        })
    }

    /// A handle of the endpoint at `index`, which must be one.
    #[inline]
    pub(crate) fn handle(&self, index: usize) -> Handle {
        let spare = self
            .spare
            .get(index)
            .and_then(|spare| spare.endpoint.take());
        Handle {
            endpoint: Some(spare.unwrap_or_else(|| self.another(index))),
            index: index as u32,
            place: self.place,
        }
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

/// An endpoint where the request is counted already.
pub(crate) struct Picked {
    pub(crate) handle: Handle,
    /// Response times are to be learned of this request.
    pub(crate) timed: bool,
}

/// Keeps an endpoint alive. Wherever it is dropped, that thread keeps the
/// reference for its next request there.
pub(crate) struct Handle {
    endpoint: Option<Arc<Endpoint>>,
    index: u32,
    place: u8,
}

impl Handle {
    #[inline]
    pub(crate) fn get(&self) -> &Endpoint {
        self.endpoint
            .as_deref()
            .expect("invariant: only drop takes it")
    }
}

impl Drop for Handle {
    #[inline]
    fn drop(&mut self) {
        let keep = |known: &Known| {
            let spare = known.spare.get(self.index as usize)?;
            let endpoint = self
                .endpoint
                .take_if(|endpoint| Arc::as_ptr(endpoint).addr() == spare.of)?;
            spare.endpoint.replace(Some(endpoint))
        };
        // Without a place to keep it the reference is dropped as any other; so is a second.
        drop(kept(usize::from(self.place), keep));
    }
}

#[cfg(test)]
mod tests;
