//! Waiting for a permit, and for its end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::demand::{Refused, Ticket};
use super::permit::Permit;
use super::share::{FairShare, Waiter};
use crate::clock;

/// Waits for a permit. The request is queued already; dropping this takes it
/// back, at whatever point.
#[must_use = "dropping this takes the request back"]
pub struct Acquire {
    pub(super) share: FairShare,
    pub(super) step: Step,
}

pub(super) enum Step {
    Refused(Refused),
    Queued(Ticket),
    Done,
}

// === impl Acquire ===

impl Future for Acquire {
    type Output = Result<Permit, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let ticket = match std::mem::replace(&mut this.step, Step::Done) {
            Step::Queued(ticket) => ticket,
            Step::Refused(refused) => return Poll::Ready(Err(refused)),
            // Polled after completion: nothing will ever come.
            Step::Done => return Poll::Pending,
        };
        // Wakers are cloned and dropped outside the lock: they are somebody
        // else's code, and may come back here.
        let mut waker = Some(cx.waker().clone());
        let picked_up = this.share.lock().pick_up(ticket, &mut waker);
        match picked_up {
            Some(device) => Poll::Ready(Ok(Permit {
                share: this.share.clone(),
                ticket,
                device,
            })),
            None => {
                this.step = Step::Queued(ticket);
                Poll::Pending
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Step::Queued(ticket) = self.step else {
            return;
        };
        let now = clock::now();
        let waiter = self.share.change(now, |state| {
            let waiter = state.waiters.remove(&ticket);
            if let Some(Waiter::Granted(_)) = waiter {
                state.release(ticket, now);
            } else {
                state.scheduler.cancel(ticket, now);
            }
            waiter
        });
        // Holds a waker, perhaps: dropped after the lock.
        drop(waiter);
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::Refused(_) => "refused",
            Step::Queued(_) => "queued",
            Step::Done => "done",
        };
        f.debug_struct("Acquire")
            .field("step", &step)
            .finish_non_exhaustive()
    }
}
