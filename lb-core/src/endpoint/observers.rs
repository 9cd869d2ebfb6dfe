//! Who is told how requests ended.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::{
    endpoint::{Endpoint, Observation, Observer},
    observe,
};

/// The observers of one pool.
#[derive(Default)]
pub(crate) struct Observers {
    all: ArcSwap<Vec<Arc<dyn Observer>>>,
    any: AtomicBool,
}

impl Observers {
    pub(crate) fn add(&self, observer: &Arc<dyn Observer>) {
        self.all.rcu(|before| {
            let mut all = Vec::clone(before);
            all.push(Arc::clone(observer));
            all
        });
        // Relaxed: as `any`.
        self.any.store(true, Ordering::Relaxed);
    }

    /// Takes it out again; who is told at this moment still is.
    pub(crate) fn remove(&self, observer: &Arc<dyn Observer>) {
        self.all.rcu(|before| {
            let others = before.iter().filter(|other| !Arc::ptr_eq(other, observer));
            others.cloned().collect::<Vec<_>>()
        });
    }

    /// Whether there ever was one.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        // Relaxed: who observes from now on may miss a request in motion.
        self.any.load(Ordering::Relaxed)
    }

    /// An observer that panics costs its own observation only.
    pub(crate) fn tell(&self, endpoint: &Endpoint, observation: &Observation) {
        for observer in self.all.load().iter() {
            let told = AssertUnwindSafe(|| observer.observed(endpoint, observation));
            if catch_unwind(told).is_err() {
                observe::observer_panicked(endpoint.id());
            }
        }
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.all.load().len();
        f.debug_struct("Observers").field("all", &all).finish()
    }
}
