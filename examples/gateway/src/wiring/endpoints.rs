//! Registry -> balancer. The registry never hears of balancing, the balancer never hears of
//! registries; every fact that both know is carried over.

use futures_util::{Stream, StreamExt as _, stream};
use lb_core::EndpointSpec;
use lb_registry::{Instance, Status, Watch};

use super::weights::Weights;

/// One registered instance as the balancer asks for it; nothing for one that must not be asked.
#[must_use]
pub fn endpoint(instance: &Instance) -> Option<EndpointSpec> {
    if instance.status == Status::Critical {
        return None;
    }
    let spec = EndpointSpec::new(&instance.id, instance.uri())
        .incarnation(instance.revision)
        .weight(instance.weight)
        .zone(instance.zone.as_deref())
        .draining(instance.status == Status::Draining)
        .metadata("version", &instance.version);
    let facts = instance.metadata.iter();
    Some(facts.fold(spec, |spec, (key, value)| spec.metadata(key, value)))
}

/// Every set the registry knows, with the weights that an operator has set, as
/// [`discover`](lb_core::pool::PoolBuilder::discover) follows it: a new one whenever either changes.
pub fn sets(
    watch: Watch,
    weights: Weights,
) -> impl Stream<Item = Vec<EndpointSpec>> + Send + 'static {
    let latest = watch.clone();
    let changes = stream::select(watch.map(drop), weights.changes());
    changes.map(move |()| {
        let known = latest.latest();
        let set = known.instances.iter().filter_map(|one| endpoint(one));
        weights.weigh(set.collect())
    })
}

#[cfg(test)]
mod tests {
    use lb_core::Pool;
    use lb_registry::{Discovery as _, InProcess, Registration, Registry as _};

    use super::*;

    fn instance(id: &str) -> Instance {
        Instance::new("simulation", id, "127.0.0.1", 8001)
    }

    #[test]
    fn every_fact_is_carried_over() {
        let mut one = Instance {
            weight: 3,
            zone: Some("a".into()),
            ..instance("sim-1")
        };
        one.metadata.insert("gpu".into(), "none".into());
        one.status = Status::Draining;
        one.revision = 7;
        let pool = Pool::builder("simulation")
            .endpoints(endpoint(&one))
            .build()
            .unwrap();
        let status = pool.status().endpoints.remove(0);
        assert_eq!(
            (status.id.as_str(), status.uri.trim_end_matches('/')),
            ("sim-1", "http://127.0.0.1:8001")
        );
        assert_eq!((status.weight, status.zone.as_deref()), (3, Some("a")));
        assert_eq!((status.incarnation, status.draining), (7, true));
        assert_eq!(status.metadata["gpu"], "none");
    }

    #[test]
    fn a_critical_instance_is_not_offered() {
        assert!(
            endpoint(&Instance {
                status: Status::Critical,
                ..instance("sim-1")
            })
            .is_none()
        );
    }

    #[tokio::test]
    async fn the_balancer_follows_the_registry() {
        let registry = InProcess::default();
        registry
            .register(&Registration::new(instance("sim-1")))
            .await
            .unwrap();
        let sets = sets(registry.watch("simulation"), Weights::default());
        let mut sets = std::pin::pin!(sets);
        assert_eq!(sets.next().await.unwrap().len(), 1);
        registry.deregister("sim-1").await.unwrap();
        assert_eq!(sets.next().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_weight_that_is_set_by_hand_brings_a_new_set() {
        let registry = InProcess::default();
        registry
            .register(&Registration::new(instance("sim-1")))
            .await
            .unwrap();
        let weights = Weights::default();
        let sets = sets(registry.watch("simulation"), weights.clone());
        let pool = Pool::builder("simulation").discover(sets).build().unwrap();
        while pool.endpoints().is_empty() {
            tokio::task::yield_now().await;
        }
        weights.set(&pool, [("sim-1".to_owned(), 7)].into());
        registry.set_draining("sim-1", Some("test")).await.unwrap();
        while !pool.status().endpoints[0].draining {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.endpoints()[0].weight(), 7);
    }
}
