//! Registry -> balancer. The registry never hears of balancing, the balancer never hears of
//! registries; every fact that both know is carried over.

use std::pin::pin;

use futures_util::{Stream, StreamExt as _};
use lb_core::{EndpointSpec, Pool};
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

/// Every set the registry knows, as the balancer follows it.
fn sets(watch: Watch) -> impl Stream<Item = Vec<EndpointSpec>> + Send + 'static {
    watch.map(|snapshot| {
        snapshot
            .instances
            .iter()
            .filter_map(|one| endpoint(one))
            .collect()
    })
}

/// Makes the pool follow the registry until either ends.
pub async fn follow(pool: Pool, watch: Watch, weights: Weights) {
    let mut sets = pin!(sets(watch));
    while let Some(set) = sets.next().await {
        if let Err(error) = pool.set_endpoints(set) {
            tracing::warn!(%error, "an address that cannot be used; the last set stays");
        }
        weights.apply(&pool);
    }
}

#[cfg(test)]
mod tests {
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
        let mut sets = std::pin::pin!(sets(registry.watch("simulation")));
        assert_eq!(sets.next().await.unwrap().len(), 1);
        registry.deregister("sim-1").await.unwrap();
        assert_eq!(sets.next().await.unwrap().len(), 0);
    }
}
