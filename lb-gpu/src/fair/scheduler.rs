//! Who is next: the decision, without a clock and without a lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{Builder, Limits};
use super::demand::{Demand, Refused, Ticket};
use super::device::Device;
use super::tenant::{Place, Tenant, VirtualTime, Waiting};
use crate::reading::DeviceId;

/// The pure scheduler behind [`FairShare`](super::FairShare).
///
/// Time comes in with every call and must not run backwards. After any call
/// that could free or add something, ask [`next_grant`](Self::next_grant) until
/// it says `None`. A decision costs O(log n) in waiting requests and tenants;
/// when the first in line does not fit, times the lookahead and the devices.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lb_gpu::fair::{Demand, FairShare};
///
/// # #[expect(clippy::disallowed_methods)]
/// let start = Instant::now();
/// let mut scheduler = FairShare::builder().slots(1).tenant("a", 1.0).tenant("b", 1.0).build_scheduler()?;
/// let first = scheduler.request("a", Demand::slots(1), start)?;
/// let second = scheduler.request("a", Demand::slots(1), start)?;
/// let other = scheduler.request("b", Demand::slots(1), start)?;
/// assert_eq!(scheduler.next_grant(start).map(|grant| grant.ticket), Some(first));
/// assert_eq!(scheduler.next_grant(start), None); // the only slot is taken
///
/// let later = start + Duration::from_secs(1);
/// scheduler.release(first, later);
/// assert_eq!(scheduler.next_grant(later).map(|grant| grant.ticket), Some(other));
/// # scheduler.cancel(second, later);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scheduler {
    pub(super) limits: Limits,
    pub(super) devices: Vec<Device>,
    pub(super) total_slots: u64,
    pub(super) total_bytes: u64,
    pub(super) tenants: BTreeMap<TenantKey, Tenant>,
    pub(super) names: BTreeMap<Arc<str>, TenantKey>,
    /// Tenants with waiting requests, the one furthest behind first.
    pub(super) line: BTreeSet<LinePlace>,
    pub(super) waiting: BTreeMap<Ticket, (TenantKey, Place)>,
    pub(super) running: BTreeMap<Ticket, Running>,
    /// When the next charge of each permit is due.
    pub(super) instalments: BTreeSet<(Instant, Ticket)>,
    pub(super) reservation: Option<Reservation>,
    /// Clock of the tenant that was served last.
    pub(super) virtual_now: VirtualTime,
    pub(super) next_ticket: u64,
    pub(super) next_tenant: TenantKey,
}

pub(super) type TenantKey = u64;
/// Clock, then who has been in the line for longer, then whose place it is.
pub(super) type LinePlace = (VirtualTime, u64, TenantKey);

/// A permit may be used: on this device, from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose turn it is.
    pub ticket: Ticket,
    /// Where.
    pub device: DeviceId,
    /// How long it waited.
    pub waited: Duration,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) tenant: TenantKey,
    pub(super) device: usize,
    pub(super) demand: Demand,
    pub(super) since: Instant,
    /// What was charged so far, as holding time.
    pub(super) charged: Duration,
}

/// A device that takes nobody else until this request has started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    pub(super) ticket: Ticket,
    pub(super) device: usize,
}

impl Scheduler {
    pub(super) fn new(config: Builder) -> Self {
        let headroom = config.limits.headroom_bytes;
        let devices: Vec<_> = config
            .devices
            .into_iter()
            .map(|(id, slots, memory)| {
                Device::new(
                    id,
                    slots,
                    memory.map(|bytes| bytes.saturating_sub(headroom)),
                )
            })
            .collect();
        let mut scheduler = Self {
            total_slots: devices.iter().map(|device| u64::from(device.slots)).sum(),
            total_bytes: devices
                .iter()
                .filter_map(|device| device.memory_bytes)
                .fold(0, u64::saturating_add),
            limits: config.limits,
            devices,
            tenants: BTreeMap::new(),
            names: BTreeMap::new(),
            line: BTreeSet::new(),
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            instalments: BTreeSet::new(),
            reservation: None,
            virtual_now: VirtualTime::default(),
            next_ticket: 0,
            next_tenant: 0,
        };
        for (name, weight) in config.tenants {
            scheduler.add_tenant(name.into(), weight, false);
        }
        scheduler
    }

    /// Queues a request.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the tenant is unknown, the demand can never be met, or
    /// too many requests wait already.
    pub fn request(
        &mut self,
        tenant: &str,
        demand: Demand,
        now: Instant,
    ) -> Result<Ticket, Refused> {
        self.advance(now);
        if !self
            .devices
            .iter()
            .any(|device| device.could_ever_fit(&demand))
        {
            return Err(Refused::Impossible);
        }
        let key = self.key_of(tenant)?;
        if self.waiting.len() >= self.limits.waiting {
            return Err(self.queue_full(key, self.waiting.len()));
        }
        let queued = self.tenants[&key].queue.len();
        if queued >= self.limits.waiting_per_tenant {
            return Err(self.queue_full(key, queued));
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let place = (Reverse(demand.priority), ticket);
        if queued == 0 {
            self.enter_the_line(key);
        }
        let waiting = Waiting {
            demand,
            since: now,
            blocked_since: None,
        };
        self.tenant(key).queue.insert(place, waiting);
        self.waiting.insert(ticket, (key, place));
        Ok(ticket)
    }

    /// Takes a waiting request back. `false` if it does not wait.
    pub fn cancel(&mut self, ticket: Ticket, now: Instant) -> bool {
        self.advance(now);
        self.leave_the_queue(ticket).is_some()
    }

    /// The next permit, if anybody waits and fits.
    pub fn next_grant(&mut self, now: Instant) -> Option<Grant> {
        self.advance(now);
        if let Some(Reservation { ticket, device }) = self.reservation {
            let (key, place) = self.waiting[&ticket];
            let demand = &self.tenants[&key].queue[&place].demand;
            if self.devices[device].fits(demand) {
                return Some(self.grant(ticket, device, now));
            }
            if !self.devices[device].could_fit(demand) {
                // Others took what it was reserved for: start over.
                self.reservation = None;
            }
        }
        let (ticket, device) = self.choose(now)?;
        Some(self.grant(ticket, device, now))
    }

    /// Ends a permit. `false` if it does not run.
    pub fn release(&mut self, ticket: Ticket, now: Instant) -> bool {
        self.advance(now);
        let Some(running) = self.running.remove(&ticket) else {
            return false;
        };
        self.instalments
            .remove(&(running.since + running.charged, ticket));
        self.devices[running.device].give_back(&running.demand);
        let held = now.saturating_duration_since(running.since);
        let dominant = self.dominant(&running.demand);
        let correction = held.as_secs_f64() - running.charged.as_secs_f64();
        self.charge(running.tenant, dominant * correction);
        let tenant = self.tenant(running.tenant);
        tenant.running -= 1;
        tenant.held = if tenant.running == 0 {
            0.0
        } else {
            tenant.held - dominant
        };
        tenant.learn(held);
        true
    }

    /// Says whether a device may be given work. Returns the permits that run
    /// on it if it may not any more.
    pub fn set_fit(&mut self, device: &DeviceId, fit: bool) -> Vec<Ticket> {
        let Some(index) = self.devices.iter().position(|known| known.id == *device) else {
            return Vec::new();
        };
        let was_fit = std::mem::replace(&mut self.devices[index].fit, fit);
        if fit || !was_fit {
            return Vec::new();
        }
        self.reservation
            .take_if(|reservation| reservation.device == index);
        let here = self
            .running
            .iter()
            .filter(|(_, running)| running.device == index);
        here.map(|(ticket, _)| *ticket).collect()
    }

    /// Says how much memory of a device is really in use, by anybody.
    pub fn observe_memory(&mut self, device: &DeviceId, used_bytes: u64) {
        if let Some(known) = self.devices.iter_mut().find(|known| known.id == *device) {
            known.observe_memory(used_bytes);
        }
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many permits are out.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Slots in use, and slots of all fit devices.
    #[must_use]
    pub fn slots(&self) -> (u32, u32) {
        let sum = |slots: &mut dyn Iterator<Item = u32>| slots.fold(0, u32::saturating_add);
        let used = sum(&mut self.devices.iter().map(|device| device.used_slots));
        let fit = self.devices.iter().filter(|device| device.fit);
        (used, sum(&mut fit.map(|device| device.slots)))
    }
}
