//! The GPUs of one instance: are they well, how busy are they, and whose turn is it?
//!
//! Three seams start here, all fed by one view of the devices that this instance was given:
//!
//! | from lb-gpu | to | what it does |
//! |---|---|---|
//! | [`Gpus::signal`] | readiness | an instance whose GPUs are lost is not ready, and gets no traffic |
//! | [`Gpus::load`] | the load report | a policy by resources sees how busy they are |
//! | [`Gpus::turn`] | all that computes | tenants get their slots in fair turns; a turn ends when its device is lost |
//!
//! A machine without a GPU is a normal machine: ready, without GPU figures in its reports, and
//! with the same fair turns on its processor. Devices that appear after the start are not used.
//!
//! ```
//! use simulation::gpu::{Gpus, Work};
//! use simulation::jobs::Tenant;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let gpus = Gpus::none(1);
//! let turn = gpus.turn(&Tenant::default(), Work::Job).await.expect("nothing is broken here");
//! assert_eq!(turn.device().as_str(), "cpu");
//! assert!(gpus.signal().fit && gpus.load().gpu.is_none());
//! # }
//! ```

mod weight;

use std::sync::Arc;
use std::time::Duration;

use lb_gpu::fair::{Demand, FairShare, InvalidConfig, Permit, Refused};
use lb_gpu::load::{HealthSignal, LoadReport};
use lb_gpu::probe::AbsentReason;
use lb_gpu::reading::DeviceId;
use lb_gpu::{GpuSnapshot, Sampler};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub use self::weight::{TenantWeight, TenantWeightError};
use crate::jobs::Tenant;

/// A driver that hangs must not keep an instance from starting.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// What turns are on where there is no GPU.
const PROCESSOR: &str = "cpu";

/// What one instance knows of its GPUs. Clones share it.
#[derive(Clone, Debug)]
pub struct Gpus {
    seen: watch::Receiver<Arc<GpuSnapshot>>,
    turns: FairShare,
    _watching: Option<Arc<Watching>>,
}

#[derive(Debug)]
struct Watching {
    _sampler: Sampler,
    _follower: AbortOnDropHandle<()>,
}

/// Which GPUs, and how they are shared.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Only the GPU at this position, counted round where there are fewer. Default: all.
    pub only: Option<usize>,
    /// Jobs and direct runs that run at the same time, over all devices; at least one for each.
    /// Default: 0.
    pub slots: u32,
    /// Weights of tenants; whoever is not named weighs 1. Default: nobody is named.
    pub tenants: Vec<TenantWeight>,
}

/// What a turn is for. It orders the turns of one tenant; between tenants it makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A job, in the order of arrival.
    Job,
    /// A direct run: small, and somebody holds the line. Goes before the tenant's waiting jobs.
    Direct,
}

/// Why there is no turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoTurn {
    /// No device of this instance can work.
    #[error("the GPUs of this instance are lost")]
    Lost,
    /// Too many wait already.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Gpus {
    /// No GPU: so many slots on the processor.
    #[must_use]
    pub fn none(slots: u32) -> Self {
        let share = Share {
            slots,
            ..Share::default()
        };
        let absent = GpuSnapshot::absent(AbsentReason::Disabled);
        let turns = turns(&share, &[]).expect("invariant: one device with at least one slot");
        Self {
            seen: watch::channel(Arc::new(absent)).1,
            turns,
            _watching: None,
        }
    }

    /// Follows `sampler`. Waits for its first look, three seconds at most.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] if the tenants cannot be.
    pub async fn watch(sampler: Sampler, share: &Share) -> Result<Self, InvalidConfig> {
        let first = tokio::time::timeout(FIRST_LOOK, sampler.ready()).await;
        let first = first.unwrap_or_else(|_| sampler.latest());
        let mine = given(&first, share.only);
        let turns = turns(share, &mine)?;
        let (sender, seen) = watch::channel(Arc::new(first.restricted_to(&mine)));
        let follower = follow(sampler.subscribe(), sender, mine, turns.clone());
        let watching = Watching {
            _sampler: sampler,
            _follower: AbortOnDropHandle::new(tokio::spawn(follower)),
        };
        Ok(Self {
            seen,
            turns,
            _watching: Some(Arc::new(watching)),
        })
    }

    /// The devices of this instance, as they were seen last.
    #[must_use]
    pub fn latest(&self) -> Arc<GpuSnapshot> {
        Arc::clone(&self.seen.borrow())
    }

    /// Whether this instance should get work.
    #[must_use]
    pub fn signal(&self) -> HealthSignal {
        self.seen.borrow().health_signal()
    }

    /// How busy the devices are, and their slots.
    #[must_use]
    pub fn load(&self) -> LoadReport {
        self.seen.borrow().load(Some(self.turns.utilization()))
    }

    /// Who waits for a slot, and why.
    #[must_use]
    pub fn turns(&self) -> &FairShare {
        &self.turns
    }

    /// Waits for the turn of `tenant`. Dropping the permit ends the turn.
    ///
    /// # Errors
    ///
    /// [`NoTurn`] if the devices are lost, now or while it waits, or too many wait.
    pub async fn turn(&self, tenant: &Tenant, work: Work) -> Result<Permit, NoTurn> {
        let demand = Demand::slots(1).priority(match work {
            Work::Job => 0,
            Work::Direct => 1,
        });
        tokio::select! {
            biased;
            () = self.unfit() => Err(NoTurn::Lost),
            permit = self.turns.acquire(tenant.as_str(), demand) => Ok(permit?),
        }
    }

    /// Resolves when no device of this instance can work.
    async fn unfit(&self) {
        let mut seen = self.seen.clone();
        let lost = seen.wait_for(|snapshot| !snapshot.health_signal().fit);
        if lost.await.is_err() {
            // Nobody watches any more, so nothing will be lost any more.
            std::future::pending::<()>().await;
        }
    }
}

/// The devices that this instance was given: by UUID, because positions shift.
fn given(snapshot: &GpuSnapshot, only: Option<usize>) -> Vec<DeviceId> {
    let whole = snapshot
        .devices
        .iter()
        .filter(|device| device.reading.mig.is_none());
    let mut all: Vec<_> = whole.filter(|device| device.present).collect();
    all.sort_by_key(|device| device.reading.index);
    let position = only.and_then(|only| only.checked_rem(all.len()));
    let chosen = position.map_or(&*all, |position| &all[position..=position]);
    chosen.iter().map(|device| device.id().clone()).collect()
}

fn turns(share: &Share, devices: &[DeviceId]) -> Result<FairShare, InvalidConfig> {
    let processor = [DeviceId::from(PROCESSOR)];
    let devices = if devices.is_empty() {
        &processor
    } else {
        devices
    };
    let each = share.slots.max(1).div_ceil(devices.len() as u32);
    let mut builder = FairShare::builder().strangers(1.0);
    for device in devices {
        builder = builder.device(device.clone(), each, None);
    }
    for tenant in &share.tenants {
        builder = builder.tenant(tenant.name(), tenant.weight());
    }
    builder.build()
}

async fn follow(
    mut latest: watch::Receiver<Arc<GpuSnapshot>>,
    seen: watch::Sender<Arc<GpuSnapshot>>,
    mine: Vec<DeviceId>,
    turns: FairShare,
) {
    loop {
        let view = Arc::new(latest.borrow_and_update().restricted_to(&mine));
        turns.observe(&view);
        seen.send_replace(view);
        if latest.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
