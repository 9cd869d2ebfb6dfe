//! The scheduler behind a lock, with futures that wait and permits that give back.

use std::collections::BTreeMap;
use std::fmt;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::acquire::{Acquire, Step};
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

pub(super) struct State {
    pub(super) scheduler: Scheduler,
    pub(super) waiters: BTreeMap<Ticket, Waiter>,
    pub(super) permits: BTreeMap<Ticket, PermitState>,
}

/// A request between being queued and being picked up.
pub(super) enum Waiter {
    Waiting(Option<Waker>),
    Granted(DeviceId),
}

#[derive(Default)]
pub(super) struct PermitState {
    pub(super) revoked: bool,
    /// Who waits for the revocation; places of those who gave up are used again.
    pub(super) wakers: Vec<Option<Waker>>,
}

impl PermitState {
    /// A place for one more who waits.
    pub(super) fn place(&mut self) -> usize {
        let free = self.wakers.iter().position(Option::is_none);
        free.unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }
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
        // One change: nobody is given a device that the rest of the snapshot takes away.
        let wakers = self.change(clock::now(), |state| {
            let mut wakers = Vec::new();
            for device in &snapshot.devices {
                let fit = device.present && device.health.verdict < Verdict::Unfit;
                if let Some(memory) = device.reading.metrics.memory {
                    let used = memory.used_bytes;
                    state.scheduler.observe_memory(device.id(), used);
                }
                wakers.extend(state.set_fit(device.id(), fit));
            }
            wakers
        });
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Says whether a device may be given work; if not, its permits are told.
    pub fn set_fit(&self, device: &DeviceId, fit: bool) {
        let wakers = self.change(clock::now(), |state| state.set_fit(device, fit));
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
    pub(super) fn change<T>(&self, now: Instant, change: impl FnOnce(&mut State) -> T) -> T {
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
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

    /// The device that was granted; otherwise leaves the waker behind, and the
    /// one from before in its place.
    pub(super) fn pick_up(
        &mut self,
        ticket: Ticket,
        waker: &mut Option<Waker>,
    ) -> Option<DeviceId> {
        if let Some(Waiter::Waiting(slot)) = self.waiters.get_mut(&ticket) {
            std::mem::swap(slot, waker);
            return None;
        }
        match self.waiters.remove(&ticket) {
            Some(Waiter::Granted(device)) => Some(device),
            Some(Waiter::Waiting(_)) | None => None,
        }
    }

    /// Those who wait for the end of a permit that this revokes.
    fn set_fit(&mut self, device: &DeviceId, fit: bool) -> Vec<Waker> {
        let revoked = self.scheduler.set_fit(device, fit);
        let wakers = revoked.iter().flat_map(|ticket| self.revoke(*ticket));
        wakers.flatten().collect()
    }

    fn revoke(&mut self, ticket: Ticket) -> Vec<Option<Waker>> {
        let Some(permit) = self.permits.get_mut(&ticket) else {
            return Vec::new();
        };
        permit.revoked = true;
        std::mem::take(&mut permit.wakers)
    }

    pub(super) fn release(&mut self, ticket: Ticket, now: Instant) -> Option<PermitState> {
        self.scheduler.release(ticket, now);
        self.permits.remove(&ticket)
    }
}
