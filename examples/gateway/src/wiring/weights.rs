//! Operator -> balancer. The registry knows nothing of weights that somebody sets by hand, so each
//! of its sets would undo them: they are kept here and applied again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lb_core::{EndpointId, Pool};

/// Weights that were set by hand, by endpoint.
#[derive(Clone, Debug, Default)]
pub struct Weights(Arc<Mutex<BTreeMap<String, u32>>>);

impl Weights {
    /// Sets weights for now and for every set to come.
    pub fn set(&self, pool: &Pool, weights: BTreeMap<String, u32>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(weights);
        self.apply(pool);
    }

    /// Weighs those who are there and forgets those who left.
    pub fn apply(&self, pool: &Pool) {
        let mut weights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        weights.retain(|id, weight| pool.set_weight(&EndpointId::from(id), *weight));
    }
}

#[cfg(test)]
mod tests {
    use lb_core::EndpointSpec;

    use super::*;

    #[test]
    fn a_weight_outlives_a_new_set_but_not_its_endpoint() {
        let set = |ids: &[&str]| -> Vec<EndpointSpec> {
            ids.iter()
                .map(|id| EndpointSpec::new(*id, format!("http://127.0.0.1/{id}")))
                .collect()
        };
        let pool = Pool::builder("simulation")
            .endpoints(set(&["a"]))
            .build()
            .unwrap();
        let weights = Weights::default();
        weights.set(&pool, BTreeMap::from([("a".to_owned(), 7)]));
        for (ids, expected) in [(&["a", "b"][..], 7), (&["b"], 1), (&["a"], 1)] {
            pool.set_endpoints(set(ids)).unwrap();
            weights.apply(&pool);
            assert_eq!(pool.endpoints()[0].weight(), expected, "{ids:?}");
        }
    }
}
