//! A request that is counted at an endpoint, in two words.
//!
//! What a pick finds is handed on in registers, and moved once, to where the request keeps
//! it. Parts of different sizes, written one by one and moved together at once, would wait
//! for each other: a processor cannot hand several small writes on as one large read.

use std::sync::Arc;

use crate::{endpoint::Endpoint, pool::known};

/// An endpoint where the request is counted already. Who gets it makes it [`Counted`].
#[must_use = "nobody else ends the request"]
pub(crate) struct Picked {
    pub(super) endpoint: Arc<Endpoint>,
    /// Response times are to be learned of this request.
    pub(super) timed: bool,
}

/// A request that is counted at an endpoint until this is dropped. It keeps the endpoint
/// alive; the thread that drops it keeps the reference for its next request there.
pub(crate) struct Counted {
    endpoint: Option<Arc<Endpoint>>,
    marks: Marks,
}

/// The same when its answer has begun and all is told of it, in one word.
#[cfg(feature = "affinity")]
pub(crate) struct Answered(Option<Arc<Endpoint>>);

/// What is known of a counted request: a bit for each, in a whole word.
#[derive(Clone, Copy)]
struct Marks(u64);

const TIMED: u64 = 1;
const ANSWERED: u64 = 2;
const TOLD: u64 = 4;
const HELD: &str = "invariant: only its end takes it";

impl Marks {
    #[inline]
    fn has(self, mark: u64) -> bool {
        self.0 & mark != 0
    }

    /// Whether the mark was there before.
    #[inline]
    fn set(&mut self, mark: u64) -> bool {
        let before = self.has(mark);
        self.0 |= mark;
        before
    }
}

impl From<Picked> for Counted {
    #[inline]
    fn from(picked: Picked) -> Self {
        let marks = Marks(if picked.timed { TIMED } else { 0 });
        let endpoint = Some(picked.endpoint);
        Self { endpoint, marks }
    }
}

impl Counted {
    #[inline]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.endpoint.as_deref().expect(HELD)
    }

    /// Response times are to be learned of this request.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.marks.has(TIMED)
    }

    /// From now on they are.
    pub(crate) fn set_timed(&mut self) {
        self.marks.set(TIMED);
    }

    /// Whether nobody told before how it ended: only the first word counts.
    #[inline]
    pub(crate) fn may_tell(&mut self) -> bool {
        !self.marks.set(TOLD)
    }

    /// Its answer began, see [`Stats::waiting`](crate::endpoint::Stats::waiting).
    pub(crate) fn answer(&mut self) {
        self.marks.set(ANSWERED);
        self.endpoint().stats.answer();
    }

    /// If its answer began.
    #[cfg(feature = "affinity")]
    #[inline]
    pub(crate) fn answered(&mut self) -> Option<Answered> {
        let endpoint = self.endpoint.take_if(|_| self.marks.has(ANSWERED))?;
        Some(Answered(Some(endpoint)))
    }
}

/// One request less at this endpoint, if it is there still.
#[inline]
fn end(endpoint: &mut Option<Arc<Endpoint>>, answered: bool) {
    if let Some(it) = endpoint {
        // Looked up before: nothing is read until an atomic write is done.
        let (seat, address) = (it.seat(), Arc::as_ptr(it).addr());
        it.stats.leave(answered);
        known::give_back(seat, address, endpoint);
    }
}

impl Drop for Counted {
    #[inline]
    fn drop(&mut self) {
        end(&mut self.endpoint, self.marks.has(ANSWERED));
    }
}

#[cfg(feature = "affinity")]
impl Drop for Answered {
    /// Not in line: most bodies hold none when they are dropped.
    #[inline(never)]
    fn drop(&mut self) {
        end(&mut self.0, true);
    }
}
