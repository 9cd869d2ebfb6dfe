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
    cell::Cell,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};

use crate::{
    endpoint::Endpoint,
    error::PickError,
    pick::PickCx,
    pool::{lease::Lease, snapshot::Snapshot},
};

/// Pools that one thread keeps at once; beyond that they take turns.
const PLACES: usize = 64;

thread_local! {
    static KNOWN: [Cell<Option<Box<Known>>>; PLACES] = const { [const { Cell::new(None) }; PLACES] };
}

/// The current snapshot of one pool.
pub(crate) struct Current {
    snapshot: ArcSwap<Snapshot>,
    /// The version of that snapshot. No two of a process are equal, whatever
    /// their pool.
    version: AtomicU64,
    place: usize,
    alive: Arc<()>,
}

/// What one thread knows of one pool.
pub(crate) struct Known {
    snapshot: Arc<Snapshot>,
    pool: Weak<()>,
    place: usize,
    /// By the index of the endpoint.
    spare: Box<[Option<Arc<Endpoint>>]>,
}

// === impl Current ===

impl Current {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        static POOLS: AtomicUsize = AtomicUsize::new(0);
        Self {
            version: AtomicU64::new(snapshot.version),
            snapshot: ArcSwap::from_pointee(snapshot),
            // Relaxed: only that the numbers differ matters.
            place: POOLS.fetch_add(1, Ordering::Relaxed) % PLACES,
            alive: Arc::new(()),
        }
    }

    /// For everything but picks.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Makes it the current one; returns the one before.
    pub(crate) fn install(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let version = snapshot.version;
        let before = self.snapshot.swap(Arc::new(snapshot));
        // Release: who sees this version finds its snapshot, or a later one.
        self.version.store(version, Ordering::Release);
        before
    }

    /// Runs `read` on what this thread knows of the pool.
    #[inline]
    pub(crate) fn with<R>(&self, read: impl FnOnce(&mut Known) -> R) -> R {
        // Acquire: as `install`.
        let version = self.version.load(Ordering::Acquire);
        // Taken out while in use: a picker that itself picks finds nothing, and is well.
        let mut known = match take(self.place) {
            Some(known) if known.snapshot.version == version => known,
            _ => self.meet(),
        };
        let answer = read(&mut known);
        put(known);
        answer
    }

    /// Runs `read` until it succeeds, or fails on a snapshot that is still the
    /// current one afterwards.
    #[cold]
    #[inline(never)]
    pub(crate) fn with_settled<R, E>(
        &self,
        read: impl Fn(&mut Known) -> Result<R, E>,
    ) -> Result<R, E> {
        loop {
            // Acquire: as `install`.
            let version = self.version.load(Ordering::Acquire);
            let answer = self.with(&read);
            if answer.is_ok() || self.version.load(Ordering::Acquire) == version {
                return answer;
            }
        }
    }

    #[cold]
    fn meet(&self) -> Box<Known> {
        sweep();
        let snapshot = self.snapshot.load_full();
        Box::new(Known {
            spare: vec![None; snapshot.candidates.len()].into(),
            pool: Arc::downgrade(&self.alive),
            place: self.place,
            snapshot,
        })
    }
}

#[inline]
fn take(place: usize) -> Option<Box<Known>> {
    // A thread that is ending keeps nothing any more.
    KNOWN
        .try_with(|known| known[place % PLACES].take())
        .ok()
        .flatten()
}

#[inline]
fn put(known: Box<Known>) {
    // When it cannot be kept it is dropped.
    let _ = KNOWN.try_with(|all| all[known.place % PLACES].set(Some(known)));
}

/// Lets go of pools that are gone.
fn sweep() {
    for place in 0..PLACES {
        if let Some(known) = take(place).filter(|known| known.pool.strong_count() > 0) {
            put(known);
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
    pub(crate) fn pick(&mut self, cx: &PickCx<'_>) -> Result<Lease, PickError> {
        let snapshot = &*self.snapshot;
        let Some(index) = snapshot.pick(cx) else {
            return Err(no_endpoint(snapshot.candidates.len()));
        };
        let timed = snapshot.timed || cx.is_sampled();
        let shadow = snapshot.shadow.as_ref();
        let shadow = shadow.map(|shadow| shadow.pick(cx, index));
        let lease = Lease::new(self.handle(index), timed, cx.now);
        Ok(match shadow {
            None => lease,
            Some(shadow) => lease.with_shadow(shadow),
        })
    }

    /// A handle of the endpoint at `index`, which must be one.
    #[inline]
    pub(crate) fn handle(&mut self, index: usize) -> Handle {
        let spare = self.spare.get_mut(index).and_then(Option::take);
        let endpoint =
            spare.unwrap_or_else(|| Arc::clone(&self.snapshot.candidates.entries[index].endpoint));
        Handle {
            endpoint: Some(endpoint),
            version: self.snapshot.version,
            place: self.place as u32,
            index: index as u32,
        }
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

/// Keeps an endpoint alive. Wherever it is dropped, that thread keeps the
/// reference for its next request there.
pub(crate) struct Handle {
    endpoint: Option<Arc<Endpoint>>,
    version: u64,
    place: u32,
    index: u32,
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
        // Without a place to keep it the reference is dropped as any other.
        let Some(mut known) = take(self.place as usize) else {
            return;
        };
        if known.snapshot.version == self.version
            && let Some(spare) = known.spare.get_mut(self.index as usize)
        {
            *spare = self.endpoint.take();
        }
        put(known);
    }
}

#[cfg(test)]
mod tests;
