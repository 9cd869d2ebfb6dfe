//! The snapshot of the moment.
//!
//! Taking a guard of an [`ArcSwap`] costs two atomic exchanges, as much as counting the
//! request. So each thread [keeps](super::known) the snapshot it saw last, and a pick reads
//! one shared number to know whether that is still the current one. What a thread keeps is
//! replaced by its next pick after a change. Old snapshots are freed by whoever makes the
//! next change, not on the way of a request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, Guard};

use crate::{
    endpoint::EndpointId,
    pick::PickCx,
    pool::{
        counted::Picked,
        known::{self, Known},
        snapshot::{self, Snapshot},
    },
};

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
    place: u8,
    snapshot: ArcSwap<Snapshot>,
    alive: Arc<()>,
}

// === impl Current ===

impl Current {
    pub(crate) fn new(snapshot: Snapshot, place: u8) -> Self {
        Self {
            version: AtomicU64::new(snapshot.version),
            place,
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
        self.quickly(|known| known.pick(cx))
    }

    /// The same for a request that is bound, see [`Pool::pick_bound`](super::Pool::pick_bound).
    #[inline]
    pub(crate) fn pick_bound(
        &self,
        id: &EndpointId,
        incarnation: Option<u64>,
        cx: &PickCx<'_>,
    ) -> Option<Picked> {
        self.quickly(|known| known.pick_bound(id, incarnation, cx).ok())
    }

    #[inline]
    fn quickly(&self, pick: impl FnOnce(&Known) -> Option<Picked>) -> Option<Picked> {
        // Acquire: as `install`. A version with a mark is known to nobody.
        let version = self.version.load(Ordering::Acquire);
        let pick = |known: &Known| known.is(version).then(|| pick(known)).flatten();
        known::kept(self.place, pick).flatten()
    }

    /// Runs `read` on what this thread knows of the pool.
    pub(crate) fn with<R>(&self, read: impl FnOnce(&Known) -> R) -> R {
        // Acquire: as `install`.
        let version = self.version.load(Ordering::Acquire) & !MARKS;
        let mut read = Some(read);
        let answer = known::kept(self.place, |known| {
            let read = read.take_if(|_| known.is(version))?;
            Some(read(known))
        });
        match (answer.flatten(), read) {
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
        known::sweep();
        let snapshot = self.snapshot.load_full();
        // Members come and go seldom, availability often.
        let before = known::take(self.place).filter(|known| known.has_members_of(&snapshot));
        let known = match before {
            Some(known) => known.renewed(snapshot),
            None => Known::new(snapshot, &self.alive),
        };
        // Not kept while in use: a picker that itself picks meets it, too.
        let answer = read(&known);
        known::replace(self.place, Some(known));
        answer
    }
}

#[cfg(test)]
mod tests;
