//! The scheduler behind a lock, with futures that wait and permits that give back.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::config::Builder;
use super::demand::{Demand, Refused, Ticket};
use super::explain::Explanation;
use super::scheduler::Scheduler;
use crate::clock;
use crate::health::Verdict;
use crate::observe;
use crate::ratio::Ratio;
use crate::reading::DeviceId;
use crate::snapshot::GpuSnapshot;
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Permits for GPU slots, in fair turns. Clones share it. See the module docs.
#[derive(Clone)]
pub struct FairShare {
    state: Arc<Mutex<State>>,
}

struct State {
    scheduler: Scheduler,
    waiters: BTreeMap<Ticket, Waiter>,
    permits: BTreeMap<Ticket, PermitState>,
}

/// A request between being queued and being picked up.
enum Waiter {
    Waiting(Option<Waker>),
    Granted(DeviceId),
}

#[derive(Default)]
struct PermitState {
    revoked: bool,
    waker: Option<Waker>,
}

/// Waits for a permit. The request is queued already; dropping this takes it
/// back, at whatever point.
#[must_use = "dropping this takes the request back"]
pub struct Acquire {
    share: FairShare,
    step: Step,
}

enum Step {
    Refused(Refused),
    Queued(Ticket),
    Done,
}

/// The right to use its slots on its device. Dropping it gives them back.
#[must_use = "the slots are given back when this is dropped"]
pub struct Permit {
    share: FairShare,
    ticket: Ticket,
    device: DeviceId,
}

/// Resolves when the device of a permit became unfit.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Revoked<'a> {
    permit: &'a Permit,
}

// === impl FairShare ===

impl FairShare {
    /// Starts from the defaults named at each setter.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(scheduler: Scheduler) -> Self {
        let state = State {
            scheduler,
            waiters: BTreeMap::new(),
            permits: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Queues a request, at once, and returns the future that waits for it.
    ///
    /// # Errors
    ///
    /// The future fails with [`Refused`] if the request was not even queued.
    pub fn acquire(&self, tenant: &str, demand: Demand) -> Acquire {
        let now = clock::now();
        let queued: Result<Ticket, Refused> = self.change(now, |state| {
            let ticket = state.scheduler.request(tenant, demand, now)?;
            state.waiters.insert(ticket, Waiter::Waiting(None));
            Ok(ticket)
        });
        let step = match queued {
            Ok(ticket) => Step::Queued(ticket),
            Err(refused) => {
                observe::slot_refused(refused.label());
                Step::Refused(refused)
            }
        };
        Acquire {
            share: self.clone(),
            step,
        }
    }

    /// Takes in what is known about the devices: unfit ones get no more work and
    /// their permits are told, and memory that is really in use is not given
    /// away. Devices are matched by UUID; call it for every new snapshot.
    pub fn observe(&self, snapshot: &GpuSnapshot) {
        for device in &snapshot.devices {
            let fit = device.present && device.health.verdict < Verdict::Unfit;
            if let Some(memory) = device.reading.metrics.memory {
                self.change(clock::now(), |state| {
                    state
                        .scheduler
                        .observe_memory(device.id(), memory.used_bytes);
                });
            }
            self.set_fit(device.id(), fit);
        }
    }

    /// Says whether a device may be given work; if not, its permits are told.
    pub fn set_fit(&self, device: &DeviceId, fit: bool) {
        let wakers: Vec<_> = self.change(clock::now(), |state| {
            let revoked = state.scheduler.set_fit(device, fit);
            revoked
                .iter()
                .filter_map(|ticket| state.revoke(*ticket))
                .collect()
        });
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Where a tenant stands; `None` if it is not known.
    #[must_use]
    pub fn explain(&self, tenant: &str) -> Option<Explanation> {
        self.lock().scheduler.explain(tenant, clock::now())
    }

    /// Where every tenant stands, by name.
    #[must_use]
    pub fn explain_all(&self) -> Vec<Explanation> {
        self.lock().scheduler.explain_all(clock::now())
    }

    /// Slots in use, and slots of all fit devices.
    #[must_use]
    pub fn slots(&self) -> (u32, u32) {
        self.lock().scheduler.slots()
    }

    /// Share of the slots in use, for a load report; full if no device is fit.
    #[must_use]
    pub fn utilization(&self) -> Ratio {
        let (used, all) = self.slots();
        Ratio::of(u64::from(used), u64::from(all)).unwrap_or(Ratio::FULL)
    }

    /// How many requests wait, and how many permits are out.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.scheduler.waiting(), state.scheduler.running())
    }

    /// Runs one change, hands out what became free, and wakes who got it after
    /// the lock is gone.
    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        let (wakers, waits) = state.hand_out(now);
        let (slots, waiting) = (state.scheduler.slots(), state.scheduler.waiting());
        drop(state);
        observe::slots(slots, waiting);
        waits.into_iter().for_each(observe::slot_granted);
        wakers.into_iter().for_each(Waker::wake);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a caller runs under this lock, so nothing can poison it
        // halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FairShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, running) = self.counts();
        f.debug_struct("FairShare")
            .field("waiting", &waiting)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn hand_out(&mut self, now: Instant) -> (Vec<Waker>, Vec<Duration>) {
        let (mut wakers, mut waits) = (Vec::new(), Vec::new());
        while let Some(grant) = self.scheduler.next_grant(now) {
            waits.push(grant.waited);
            let waiter = self
                .waiters
                .insert(grant.ticket, Waiter::Granted(grant.device));
            if let Some(Waiter::Waiting(Some(waker))) = waiter {
                wakers.push(waker);
            }
            self.permits.insert(grant.ticket, PermitState::default());
        }
        (wakers, waits)
    }

    /// The device that was granted; otherwise leaves a waker behind.
    fn pick_up(&mut self, ticket: Ticket, waker: Waker) -> Option<DeviceId> {
        if let Some(Waiter::Waiting(slot)) = self.waiters.get_mut(&ticket) {
            *slot = Some(waker);
            return None;
        }
        match self.waiters.remove(&ticket) {
            Some(Waiter::Granted(device)) => Some(device),
            Some(Waiter::Waiting(_)) | None => None,
        }
    }

    fn revoke(&mut self, ticket: Ticket) -> Option<Waker> {
        let permit = self.permits.get_mut(&ticket)?;
        permit.revoked = true;
        permit.waker.take()
    }

    fn release(&mut self, ticket: Ticket, now: Instant) {
        self.permits.remove(&ticket);
        self.scheduler.release(ticket, now);
    }
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
        // Cloned outside the lock: it is somebody else's code.
        let waker = cx.waker().clone();
        match this.share.lock().pick_up(ticket, waker) {
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
        self.share
            .change(now, |state| match state.waiters.remove(&ticket) {
                Some(Waiter::Granted(_)) => state.release(ticket, now),
                Some(Waiter::Waiting(_)) | None => {
                    state.scheduler.cancel(ticket, now);
                }
            });
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
        self.share
            .change(now, |state| state.release(self.ticket, now));
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
        let waker = cx.waker().clone();
        let mut state = self.permit.share.lock();
        match state.permits.get_mut(&self.permit.ticket) {
            Some(permit) if !permit.revoked => {
                permit.waker = Some(waker);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}
