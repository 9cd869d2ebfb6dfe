//! Operator -> balancer. The registry knows nothing of weights that somebody sets by hand, so each
//! of its sets would undo them: they are kept here and put into every set.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use lb_core::{EndpointId, EndpointSpec, Pool};
use tokio::sync::watch;

/// Weights that were set by hand, by endpoint.
#[derive(Clone, Debug, Default)]
pub struct Weights(Arc<watch::Sender<BTreeMap<String, u32>>>);

impl Weights {
    /// Sets weights for now and for every set to come.
    pub fn set(&self, pool: &Pool, weights: BTreeMap<String, u32>) {
        for (id, weight) in &weights {
            pool.set_weight(&EndpointId::from(id), *weight);
        }
        // Last: the set that this brings about has the last word.
        self.0.send_modify(|known| known.extend(weights));
    }

    /// Weighs those who are in the set and forgets those who left.
    #[must_use]
    pub fn weigh(&self, set: Vec<EndpointSpec>) -> Vec<EndpointSpec> {
        self.0.send_if_modified(|known| {
            known.retain(|id, _| set.iter().any(|spec| spec.id().as_str() == id));
            false
        });
        let known = self.0.borrow();
        let weigh = |spec: EndpointSpec| match known.get(spec.id().as_str()) {
            Some(weight) => spec.weight(*weight),
            None => spec,
        };
        set.into_iter().map(weigh).collect()
    }

    /// Says when somebody has set one.
    pub fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        stream::unfold(self.0.subscribe(), |mut known| async move {
            known.changed().await.ok()?;
            Some(((), known))
        })
    }
}

#[cfg(test)]
mod tests {
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
            pool.set_endpoints(weights.weigh(set(ids))).unwrap();
            assert_eq!(pool.endpoints()[0].weight(), expected, "{ids:?}");
        }
    }
}
