//! The right to work, and the word that it is over.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::demand::Ticket;
use super::share::FairShare;
use crate::clock;
use crate::reading::DeviceId;

/// The right to use its slots on its device. Dropping it gives them back.
#[must_use = "the slots are given back when this is dropped"]
pub struct Permit {
    pub(super) share: FairShare,
    pub(super) ticket: Ticket,
    pub(super) device: DeviceId,
}

/// Resolves when the device of a permit became unfit.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Revoked<'a> {
    permit: &'a Permit,
    place: Option<Place>,
}

/// Where the waker of one who waits for a revocation is kept.
#[derive(Debug)]
struct Place {
    share: FairShare,
    ticket: Ticket,
    index: usize,
}

// === impl Permit ===

impl Permit {
    /// Where to work.
    #[must_use]
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// `true` once the device became unfit while this permit was out. Work on it
    /// should stop; the permit is still to be dropped.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.share
            .lock()
            .permits
            .get(&self.ticket)
            .is_some_and(|permit| permit.revoked)
    }

    /// Resolves when the device becomes unfit: select on it beside the work. Any
    /// number of them may wait at once.
    pub fn revoked(&self) -> Revoked<'_> {
        Revoked {
            permit: self,
            place: None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = clock::now();
        let state = self
            .share
            .change(now, |state| state.release(self.ticket, now));
        // Holds a waker, perhaps: dropped after the lock.
        drop(state);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("ticket", &self.ticket)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

// === impl Revoked ===

impl Future for Revoked<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned before the lock and dropped after it, see `Acquire`.
        let mut waker = Some(cx.waker().clone());
        let Permit { share, ticket, .. } = self.permit;
        let mut state = share.lock();
        match state.permits.get_mut(ticket) {
            Some(permit) if !permit.revoked => {
                let place = self.place.get_or_insert_with(|| Place {
                    share: share.clone(),
                    ticket: *ticket,
                    index: permit.place(),
                });
                std::mem::swap(&mut permit.wakers[place.index], &mut waker);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.share.lock();
        let permit = state.permits.get_mut(&self.ticket);
        let waker = permit.and_then(|permit| permit.wakers.get_mut(self.index)?.take());
        drop(state);
        drop(waker);
    }
}
