//! The gate: permits, a bounded queue in front of them, and the limit that moves.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::algorithm::{Algorithm, Sample};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};

/// Shared by all clones of a layer and its services.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    control: Mutex<Control>,
    waiting: AtomicUsize,
    max_waiting: AtomicUsize,
    max_wait_nanos: AtomicU64,
}

#[derive(Debug)]
struct Control {
    algorithm: Box<dyn Algorithm>,
    /// Permits that exist, in use or not.
    issued: u32,
    /// Permits in use that are to vanish when they come back.
    surplus: u32,
    in_flight: u32,
}

/// The right to be in flight, held by the body of an answer. Given back on drop.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Permit {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shed {
    /// As many wait as may.
    QueueFull,
    /// It waited as long as it may.
    WaitedTooLong,
}

impl Gate {
    pub(super) fn new(
        algorithm: Box<dyn Algorithm>,
        max_waiting: usize,
        max_wait: Duration,
    ) -> Self {
        let issued = algorithm.limit();
        Self {
            permits: Arc::new(Semaphore::new(issued as usize)),
            control: Mutex::new(Control {
                algorithm,
                issued,
                surplus: 0,
                in_flight: 0,
            }),
            waiting: AtomicUsize::new(0),
            max_waiting: AtomicUsize::new(max_waiting),
            max_wait_nanos: AtomicU64::new(nanos(max_wait)),
        }
    }

    pub(super) fn max_wait(&self) -> Duration {
        // Relaxed: one word; a change counts for those who come later.
        Duration::from_nanos(self.max_wait_nanos.load(Ordering::Relaxed))
    }

    /// The limit as it is now.
    pub(super) fn limit(&self) -> u32 {
        self.control().algorithm.limit()
    }

    /// Requests in flight now.
    pub(super) fn in_flight(&self) -> u32 {
        self.control().in_flight
    }

    /// Requests that wait now.
    pub(super) fn waiting(&self) -> usize {
        // Relaxed: a statistic.
        self.waiting.load(Ordering::Relaxed)
    }

    /// A permit if there is one right now.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(self.entered(permit))
    }

    /// Waits in the queue, first come first served.
    pub(super) async fn enter(self: Arc<Self>) -> Result<Permit, Shed> {
        let _place = Place::take(&self).ok_or(Shed::QueueFull)?;
        let acquired = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(self.max_wait(), acquired).await {
            Ok(Ok(permit)) => Ok(self.entered(permit)),
            // The semaphore is never closed; if it were, nobody could be let in.
            Ok(Err(_)) | Err(_) => Err(Shed::WaitedTooLong),
        }
    }

    fn entered(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Permit {
        self.control().in_flight += 1;
        Permit {
            gate: Arc::clone(self),
            permit: Some(permit),
            since: crate::clock::now(),
        }
    }

    /// Learns, and issues or withdraws permits accordingly.
    fn observe(&self, sample: Sample) {
        let mut control = self.control();
        control.algorithm.observe(sample);
        self.adjust(&mut control);
    }

    /// Other rules from now on.
    pub(super) fn set(&self, algorithm: Box<dyn Algorithm>, waiting: usize, longest: Duration) {
        // Relaxed: as `max_wait`.
        self.max_waiting.store(waiting, Ordering::Relaxed);
        self.max_wait_nanos.store(nanos(longest), Ordering::Relaxed);
        let mut control = self.control();
        control.algorithm = algorithm;
        self.adjust(&mut control);
    }

    /// As many permits as the limit says.
    fn adjust(&self, control: &mut Control) {
        let wanted = control.algorithm.limit();
        let issued = control.issued - control.surplus;
        if wanted > issued {
            let mut more = wanted - issued;
            let forgiven = more.min(control.surplus);
            control.surplus -= forgiven;
            more -= forgiven;
            control.issued += more;
            self.permits.add_permits(more as usize);
        } else {
            let fewer = issued - wanted;
            // At most `fewer`, which is a u32.
            let withdrawn = self.permits.forget_permits(fewer as usize) as u32;
            control.issued -= withdrawn;
            control.surplus += fewer - withdrawn;
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Permit ===

impl Permit {
    /// The response's head is there, or there will be none.
    pub(super) fn answered(&self, overloaded: bool) {
        let now = crate::clock::now();
        let latency = now.saturating_duration_since(self.since);
        let sample = Sample::new(now, latency, self.gate.in_flight());
        self.gate.observe(if overloaded {
            sample.overloaded()
        } else {
            sample
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut control = self.gate.control();
        control.in_flight -= 1;
        if control.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            control.surplus -= 1;
            control.issued -= 1;
            permit.forget();
        }
    }
}

/// Five centuries at most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A place in the queue, given back on drop.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(gate: &'a Gate) -> Option<Self> {
        // Relaxed: counts that guard no other memory.
        let most = gate.max_waiting.load(Ordering::Relaxed);
        gate.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < most).then_some(waiting + 1)
            })
            .is_ok()
            .then(|| Self(&gate.waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, lb_loom))]
mod loom_tests;
