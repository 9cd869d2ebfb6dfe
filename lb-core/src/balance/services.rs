//! The services of a pool's endpoints: made once per endpoint, then cloned.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use crate::endpoint::{Endpoint, EndpointId, Stats};
use crate::pool::Pool;

/// Makes the service of an endpoint; `None` if it has none.
pub(super) type Make<S> = Box<dyn Fn(&Endpoint) -> Option<S> + Send + Sync>;

pub(super) struct Services<S> {
    make: Make<S>,
    made: ArcSwap<Lives<S>>,
}

/// By the address of the statistics: another life or address of an endpoint has
/// others, and `Made` keeps the address from being used again.
type Lives<S> = HashMap<usize, Made<S>, BuildHasherDefault<Spread>>;

#[derive(Clone)]
struct Made<S> {
    id: EndpointId,
    life: Weak<Stats>,
    service: S,
}

impl<S: Clone> Services<S> {
    pub(super) fn new(make: Make<S>) -> Self {
        Self {
            make,
            made: ArcSwap::default(),
        }
    }

    /// The service of a member. Two requests at once may make it twice.
    #[inline]
    pub(super) fn get(&self, endpoint: &Endpoint, pool: &Pool) -> Option<S> {
        let life = Arc::as_ptr(&endpoint.stats).addr();
        match self.made.load().get(&life) {
            Some(made) => Some(made.service.clone()),
            None => self.make(endpoint, life, pool),
        }
    }

    #[cold]
    fn make(&self, endpoint: &Endpoint, life: usize, pool: &Pool) -> Option<S> {
        let made = Made {
            id: endpoint.id().clone(),
            life: Arc::downgrade(&endpoint.stats),
            service: (self.make)(endpoint)?,
        };
        self.made.rcu(|before| {
            let mut all = Lives::clone(before);
            // Those that left go with the next that comes.
            all.retain(|_, made| {
                let member = pool.endpoint(&made.id);
                member.is_some_and(|member| made.life.as_ptr() == Arc::as_ptr(&member.stats))
            });
            all.insert(life, made.clone());
            all
        });
        Some(made.service)
    }
}

/// Addresses differ in their middle bits: one multiplication spreads them.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
