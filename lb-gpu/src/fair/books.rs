//! Keeping the books: clocks, tenants, queues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::demand::{Demand, Refused, Ticket};
use super::scheduler::{Scheduler, TenantKey};
use super::tenant::{Tenant, Waiting};

/// Shortest and longest time that a full queue asks to stay away.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// What a full queue assumes of permits that nobody knows anything about.
const UNKNOWN_HOLDING: Duration = Duration::from_secs(10);

impl Scheduler {
    /// Charges permits that outlived what they paid for. Each charge doubles,
    /// so a permit causes few of them however long it runs.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some((due, ticket)) = self.instalments.first().copied()
            && due < now
        {
            self.instalments.pop_first();
            let Some(running) = self.running.get_mut(&ticket) else {
                continue;
            };
            let more = running.charged;
            running.charged += more;
            let (key, next) = (running.tenant, running.since + running.charged);
            self.instalments.insert((next, ticket));
            let dominant = self.dominant(&self.running[&ticket].demand);
            self.charge(key, dominant * more.as_secs_f64());
        }
    }

    /// Moves a tenant's clock and its place in the line.
    pub(super) fn charge(&mut self, key: TenantKey, dominant_seconds: f64) {
        let tenant = self.tenant(key);
        let (before, entered) = (tenant.clock, tenant.entered);
        tenant.charge(dominant_seconds);
        let after = tenant.clock;
        if self.line.remove(&(before, entered, key)) {
            self.line.insert((after, entered, key));
        }
    }

    /// Share of the scarcer resource.
    pub(super) fn dominant(&self, demand: &Demand) -> f64 {
        let slots = f64::from(demand.slots) / self.total_slots.max(1) as f64;
        let memory = if self.total_bytes == 0 {
            0.0
        } else {
            demand.memory_bytes as f64 / self.total_bytes as f64
        };
        slots.max(memory)
    }

    pub(super) fn tenant(&mut self, key: TenantKey) -> &mut Tenant {
        self.tenants
            .get_mut(&key)
            .expect("keys are only kept for known tenants")
    }

    pub(super) fn key_of(&mut self, name: &str) -> Result<TenantKey, Refused> {
        if let Some(key) = self.names.get(name) {
            return Ok(*key);
        }
        let weight = self.limits.stranger_weight.ok_or(Refused::UnknownTenant)?;
        if self.tenants.len() >= self.limits.tenants {
            self.forget_an_idle_stranger()?;
        }
        Ok(self.add_tenant(name.into(), weight, true))
    }

    pub(super) fn add_tenant(&mut self, name: Arc<str>, weight: f64, stranger: bool) -> TenantKey {
        let key = self.next_tenant;
        self.next_tenant += 1;
        self.names.insert(Arc::clone(&name), key);
        self.tenants
            .insert(key, Tenant::new(name, weight, stranger, self.virtual_now));
        key
    }

    /// Forgets the stranger whose clock says least: one that is not ahead of the
    /// others loses nothing by it.
    pub(super) fn forget_an_idle_stranger(&mut self) -> Result<(), Refused> {
        let idle = self
            .tenants
            .iter()
            .filter(|(_, tenant)| tenant.stranger && tenant.is_idle());
        let key = idle
            .min_by_key(|(_, tenant)| tenant.clock)
            .map(|(key, _)| *key)
            .ok_or(Refused::TooManyTenants)?;
        if let Some(tenant) = self.tenants.remove(&key) {
            self.names.remove(&tenant.name);
        }
        Ok(())
    }

    /// A tenant that returns does not bring saved-up turns along.
    pub(super) fn enter_the_line(&mut self, key: TenantKey) {
        // Level with the first in line, and behind it: whoever is first stays
        // first. That is what the bound on waiting rests on.
        let first = self.line.first();
        let behind = first.map_or(self.virtual_now, |(clock, ..)| *clock);
        let entered = self.next_ticket;
        let tenant = self.tenant(key);
        tenant.clock = tenant.clock.max(behind);
        tenant.entered = entered;
        let at = (tenant.clock, entered, key);
        self.line.insert(at);
    }

    pub(super) fn leave_the_queue(&mut self, ticket: Ticket) -> Option<(TenantKey, Waiting)> {
        let (key, place) = self.waiting.remove(&ticket)?;
        self.reservation
            .take_if(|reservation| reservation.ticket == ticket);
        let tenant = self.tenant(key);
        let waiting = tenant.queue.remove(&place)?;
        if tenant.queue.is_empty() {
            let at = (tenant.clock, tenant.entered, key);
            self.line.remove(&at);
        }
        Some((key, waiting))
    }

    pub(super) fn queue_full(&self, key: TenantKey, ahead: usize) -> Refused {
        let each = self.tenants[&key]
            .expected(self.limits.expected.unwrap_or(UNKNOWN_HOLDING))
            .as_secs_f64();
        let seconds = each * ahead as f64 / self.total_slots.max(1) as f64;
        let (shortest, longest) = RETRY_AFTER;
        let seconds = seconds.clamp(shortest.as_secs_f64(), longest.as_secs_f64());
        Refused::QueueFull {
            retry_after: Duration::from_secs_f64(seconds),
        }
    }
}
