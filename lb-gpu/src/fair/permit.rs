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

    /// Resolves when the device becomes unfit: select on it beside the work.
    pub fn revoked(&self) -> Revoked<'_> {
        Revoked { permit: self }
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned before the lock and dropped after it, see `Acquire`.
        let mut waker = Some(cx.waker().clone());
        let mut state = self.permit.share.lock();
        match state.permits.get_mut(&self.permit.ticket) {
            Some(permit) if !permit.revoked => {
                std::mem::swap(&mut permit.waker, &mut waker);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}
