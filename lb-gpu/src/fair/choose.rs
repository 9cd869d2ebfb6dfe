//! Who goes next, and who has a device emptied for it.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::demand::{Demand, Ticket};
use super::scheduler::{Grant, Reservation, Running, Scheduler, TenantKey};
use super::tenant::{Place, Tenant, Waiting};

/// A charge never shrinks below this, so that doubling it gets anywhere.
const SMALLEST_INSTALMENT: Duration = Duration::from_millis(10);
/// Nor is more than this paid in advance, whatever was expected.
const LARGEST_INSTALMENT: Duration = Duration::from_secs(24 * 3_600);

/// What a walk down the line found.
struct Scan {
    /// The first that fits, and where.
    chosen: Option<(Ticket, usize)>,
    /// The first that does not, if it comes before.
    blocked: Option<(TenantKey, Place)>,
}

impl Scheduler {
    /// The first in line that fits. Whoever is first and does not fit gets a
    /// device reserved once it was overtaken for long enough.
    pub(super) fn choose(&mut self, now: Instant) -> Option<(Ticket, usize)> {
        let Scan { chosen, blocked } = self.scan();
        match blocked {
            Some((key, place)) if self.block(key, place, now) => self.scan().chosen,
            _ => chosen,
        }
    }

    /// Walks down the line: who fits, and who was first and did not? Requests
    /// that no device could take today stand aside and hold up nobody.
    fn scan(&self) -> Scan {
        let reserved = self.reservation.map(|reservation| reservation.ticket);
        let mut blocked = None;
        let mut overtaken = 0;
        for (_, _, key) in &self.line {
            let Some((place, waiting)) = self.turn_of(&self.tenants[key]) else {
                continue;
            };
            if reserved == Some(place.1) {
                continue;
            }
            if let Some(device) = self.place(&waiting.demand) {
                return Scan {
                    chosen: Some((place.1, device)),
                    blocked,
                };
            }
            blocked = blocked.or(Some((*key, place)));
            overtaken += 1;
            if overtaken >= self.limits.lookahead {
                break;
            }
        }
        Scan {
            chosen: None,
            blocked,
        }
    }

    /// A tenant's next request, past those that no device could take today.
    pub(super) fn turn_of<'a>(&self, tenant: &'a Tenant) -> Option<(Place, &'a Waiting)> {
        let queue = tenant.queue.iter().take(self.limits.lookahead);
        queue
            .map(|(place, waiting)| (*place, waiting))
            .find(|(_, waiting)| {
                self.devices
                    .iter()
                    .any(|device| device.could_fit(&waiting.demand))
            })
    }

    /// The emptiest device with room that is not reserved.
    fn place(&self, demand: &Demand) -> Option<usize> {
        let reserved = self.reservation.map(|reservation| reservation.device);
        let open = self.devices.iter().enumerate();
        open.filter(|(index, device)| Some(*index) != reserved && device.fits(demand))
            .max_by_key(|(index, device)| (device.free_slots(), Reverse(*index)))
            .map(|(index, _)| index)
    }

    /// Notes that a head was first and did not fit. `true` if it was time to
    /// reserve a device for it.
    fn block(&mut self, key: TenantKey, place: Place, now: Instant) -> bool {
        let Some(waiting) = self.tenant(key).queue.get_mut(&place) else {
            return false;
        };
        let since = *waiting.blocked_since.get_or_insert(now);
        let demand = waiting.demand.clone();
        let Some(patience) = self.limits.reserve_after else {
            return false;
        };
        if self.reservation.is_some() || now.saturating_duration_since(since) < patience {
            return false;
        }
        let soonest = (0..self.devices.len())
            .filter(|index| self.devices[*index].could_fit(&demand))
            .min_by_key(|index| self.free_at(*index, &demand));
        self.reservation = soonest.map(|device| Reservation {
            ticket: place.1,
            device,
        });
        self.reservation.is_some()
    }

    /// When enough slots of a device will probably be free. Memory follows slots
    /// closely enough for an estimate.
    fn free_at(&self, device: usize, demand: &Demand) -> Option<Instant> {
        let mut free = self.devices[device].free_slots();
        let mut ends: Vec<_> = self
            .running
            .values()
            .filter(|running| running.device == device)
            .map(|running| (running.since + running.charged, running.demand.slots))
            .collect();
        ends.sort_unstable();
        let mut ends = ends.into_iter();
        let mut at = None;
        while free < demand.slots {
            let (end, slots) = ends.next()?;
            (free, at) = (free + slots, Some(end));
        }
        at
    }

    pub(super) fn grant(&mut self, ticket: Ticket, device: usize, now: Instant) -> Grant {
        let (key, waiting) = self
            .leave_the_queue(ticket)
            .expect("only waiting requests are chosen");
        self.virtual_now = self.virtual_now.max(self.tenants[&key].clock);
        // Nobody knows: pay as it goes. What a guess would charge too much, newcomers would stand
        // level with, and wait for although it is given back.
        let guess = self.limits.expected.unwrap_or(SMALLEST_INSTALMENT);
        let charged = waiting
            .demand
            .expected
            .unwrap_or_else(|| self.tenants[&key].expected(guess))
            .clamp(SMALLEST_INSTALMENT, LARGEST_INSTALMENT);
        let dominant = self.dominant(&waiting.demand);
        self.charge(key, dominant * charged.as_secs_f64());
        let tenant = self.tenant(key);
        tenant.running += 1;
        tenant.held += dominant;
        self.devices[device].take(&waiting.demand);
        self.instalments.insert((now + charged, ticket));
        let demand = waiting.demand;
        self.running.insert(
            ticket,
            Running {
                tenant: key,
                device,
                demand,
                since: now,
                charged,
            },
        );
        Grant {
            ticket,
            device: self.devices[device].id.clone(),
            waited: now.saturating_duration_since(waiting.since),
        }
    }
}
