//! Why does a tenant wait, and what is it entitled to?

use std::time::{Duration, Instant};

use super::scheduler::Scheduler;
use super::tenant::Tenant;
use crate::reading::DeviceId;

/// Where a tenant stands.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// Who.
    pub tenant: String,
    /// Its weight.
    pub weight: f64,
    /// The share it is entitled to among those who want something now.
    pub entitled_share: f64,
    /// The dominant share that it holds now.
    pub held_share: f64,
    /// Its clock: seconds of dominant share received, divided by weight.
    pub virtual_seconds: f64,
    /// Permits that it holds.
    pub running: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// How long its next request has waited.
    pub waited_seconds: Option<f64>,
    /// Tenants that go before it; `None` if nothing of it waits.
    pub position: Option<usize>,
    /// Why its next request waits.
    pub reason: WaitReason,
}

/// Why a tenant's next request waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum WaitReason {
    /// Nothing waits.
    NothingWaits,
    /// No device that could take it is fit for work and has enough memory left
    /// by others.
    NoDevice,
    /// A device is being emptied for it.
    Reserved {
        /// Which one.
        device: DeviceId,
    },
    /// It is first in line and does not fit yet; smaller ones may overtake for
    /// this long.
    DoesNotFit {
        /// Until a device is reserved; `None` if that is switched off.
        reserve_in: Option<Duration>,
    },
    /// Others are further behind and go first.
    NotItsTurn,
}

impl Scheduler {
    /// Where a tenant stands; `None` if it is not known.
    #[must_use]
    pub fn explain(&self, tenant: &str, now: Instant) -> Option<Explanation> {
        let tenant = &self.tenants[self.names.get(tenant)?];
        Some(self.explain_tenant(tenant, now))
    }

    /// Where every tenant stands, by name.
    #[must_use]
    pub fn explain_all(&self, now: Instant) -> Vec<Explanation> {
        self.names
            .values()
            .map(|key| self.explain_tenant(&self.tenants[key], now))
            .collect()
    }

    fn explain_tenant(&self, tenant: &Tenant, now: Instant) -> Explanation {
        let wanting = self.tenants.values().filter(|other| !other.is_idle());
        let weights: f64 = wanting.map(|other| other.weight).sum();
        let alone = if tenant.is_idle() { tenant.weight } else { 0.0 };
        let position = self
            .line
            .iter()
            .position(|(_, _, key)| self.tenants[key].name == tenant.name);
        Explanation {
            tenant: tenant.name.to_string(),
            weight: tenant.weight,
            entitled_share: tenant.weight / (weights + alone),
            held_share: tenant.held,
            virtual_seconds: tenant.clock.0,
            running: tenant.running,
            waiting: tenant.queue.len(),
            waited_seconds: tenant
                .head()
                .map(|(_, waiting)| now.saturating_duration_since(waiting.since).as_secs_f64()),
            position,
            reason: self.reason(tenant, position, now),
        }
    }

    fn reason(&self, tenant: &Tenant, position: Option<usize>, now: Instant) -> WaitReason {
        if tenant.queue.is_empty() {
            return WaitReason::NothingWaits;
        }
        let Some(((_, ticket), waiting)) = self.turn_of(tenant) else {
            return WaitReason::NoDevice;
        };
        match self.reservation {
            Some(reservation) if reservation.ticket == ticket => WaitReason::Reserved {
                device: self.devices[reservation.device].id.clone(),
            },
            _ if position == Some(0) => WaitReason::DoesNotFit {
                reserve_in: self.limits.reserve_after.map(|patience| {
                    let since = waiting.blocked_since.unwrap_or(now);
                    patience.saturating_sub(now.saturating_duration_since(since))
                }),
            },
            _ => WaitReason::NotItsTurn,
        }
    }
}
