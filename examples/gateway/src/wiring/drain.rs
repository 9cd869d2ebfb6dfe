//! Autoscaler -> balancer and registry. Before an instance is told to end, everybody is told that
//! it takes nothing new, and what it has is waited for: requests, tunnels and jobs.

use std::time::Duration;

use lb_autoscale::process::LocalProcesses;
use lb_core::{EndpointId, Pool};
use lb_registry::{InProcess, Registry as _};

/// Makes `processes` drain instances before they stop, and say how much work each one has.
#[must_use]
pub fn drained(processes: LocalProcesses, pool: &Pool, registry: &InProcess) -> LocalProcesses {
    let (draining, working, registry) = (pool.clone(), pool.clone(), registry.clone());
    processes
        .drain(move |instance| {
            let (pool, registry) = (draining.clone(), registry.clone());
            async move { drain(&pool, &registry, &instance.id).await }
        })
        .drain_deadline(Duration::from_secs(60))
        .active_work(move |instance| {
            let endpoint = working.endpoint(&EndpointId::from(&instance.id))?;
            Some(endpoint.stats().in_flight())
        })
}

/// The registry first: the next set it publishes must not undo what the pool is told.
async fn drain(pool: &Pool, registry: &InProcess, id: &str) {
    if let Err(error) = registry.set_draining(id, Some("scale-in")).await {
        tracing::debug!(id, %error, "not registered");
    }
    pool.drain(&EndpointId::from(id)).await;
}

/// The control run: instances are removed and killed at once, whatever they have under way.
#[must_use]
pub fn not_drained(processes: LocalProcesses, registry: &InProcess) -> LocalProcesses {
    let registry = registry.clone();
    processes
        .drain(move |instance| {
            let registry = registry.clone();
            async move { drop(registry.deregister(&instance.id).await) }
        })
        .stop_grace(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::FutureExt as _;
    use lb_core::{EndpointSpec, PickCx};
    use lb_registry::{Discovery as _, Instance, Registration, Status};

    use super::*;

    #[tokio::test]
    async fn a_drain_tells_the_registry_and_waits_for_the_last_lease() {
        let registry = InProcess::default();
        let one = Instance::new("simulation", "sim-0", "127.0.0.1", 1);
        registry.register(&Registration::new(one)).await.unwrap();
        let spec = EndpointSpec::new("sim-0", "http://127.0.0.1:1");
        let pool = Pool::builder("simulation")
            .endpoints([spec])
            .build()
            .unwrap();
        let now: Instant = crate::clock::now();
        let lease = pool.pick(&PickCx::new(now, 1)).unwrap();
        let mut draining = std::pin::pin!(drain(&pool, &registry, "sim-0"));
        assert!(
            draining.as_mut().now_or_never().is_none(),
            "a request is running"
        );
        assert_eq!(
            registry.watch("simulation").latest().instances[0].status,
            Status::Draining
        );
        assert!(pool.pick(&PickCx::new(now, 1)).is_err(), "nothing new");
        drop(lease);
        draining.await;
    }
}
