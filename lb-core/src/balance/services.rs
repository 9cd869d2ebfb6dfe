//! The services of a pool's endpoints: made once per endpoint, then cloned.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use crate::endpoint::{Endpoint, EndpointId, Stats};
use crate::pool::Pool;

/// Makes the service of an endpoint; `None` if it has none.
pub(super) type Make<S> = Box<dyn Fn(&Endpoint) -> Option<S> + Send + Sync>;

pub(super) struct Services<S> {
    make: Make<S>,
    made: ArcSwap<HashMap<EndpointId, Made<S>>>,
}

#[derive(Clone)]
struct Made<S> {
    /// Another life or address of the endpoint has other statistics.
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
    pub(super) fn get(&self, endpoint: &Endpoint, pool: &Pool) -> Option<S> {
        let same = |made: &&Made<S>| made.life.as_ptr() == Arc::as_ptr(&endpoint.stats);
        if let Some(made) = self.made.load().get(endpoint.id()).filter(same) {
            return Some(made.service.clone());
        }
        let made = Made {
            life: Arc::downgrade(&endpoint.stats),
            service: (self.make)(endpoint)?,
        };
        self.made.rcu(|before| {
            let mut all = HashMap::clone(before);
            // Those that left go with the next that comes.
            all.retain(|id, _| pool.endpoint(id).is_some());
            all.insert(endpoint.id().clone(), made.clone());
            all
        });
        Some(made.service)
    }
}
