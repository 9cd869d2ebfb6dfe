//! Balancer -> jobs. A job is work like any request: it takes a lease and holds it to its end, so
//! it is spread, counted and waited for like one.

use std::sync::Arc;

use lb_core::{EndpointId, Lease, PickCx, Pool};

use crate::clock;
use crate::jobs::{Place, Places};

/// Places for jobs, chosen by the pool's policy.
#[must_use]
pub fn places(pool: Pool, random: impl Fn() -> u64 + Send + Sync + 'static) -> Places {
    Arc::new(move |avoid| {
        let tried: Vec<EndpointId> = avoid.iter().map(|id| EndpointId::from(&**id)).collect();
        let lease = pool
            .pick(&PickCx::new(clock::now(), random()).tried(&tried))
            .ok()?;
        Some(place(lease))
    })
}

fn place(lease: Lease) -> Place {
    let endpoint = lease.endpoint();
    let instance = endpoint.id().as_str().into();
    let uri = endpoint.uri().to_string();
    Place {
        instance,
        uri,
        held: Box::new(lease),
    }
}

#[cfg(test)]
mod tests {
    use lb_core::EndpointSpec;

    use super::*;

    #[test]
    fn a_job_counts_at_its_instance_as_long_as_it_holds_the_place() {
        let spec = EndpointSpec::new("sim-1", "http://127.0.0.1:8001");
        let pool = Pool::builder("simulation")
            .endpoints([spec])
            .build()
            .unwrap();
        let place = places(pool.clone(), || 7)(&[]).unwrap();
        assert_eq!(&*place.instance, "sim-1");
        assert_eq!(pool.status().endpoints[0].in_flight, 1);
        drop(place);
        assert_eq!(pool.status().endpoints[0].in_flight, 0);
    }

    #[test]
    fn an_instance_to_avoid_is_not_chosen() {
        let pool = Pool::builder("simulation")
            .endpoints(["http://127.0.0.1:1"])
            .build()
            .unwrap();
        assert!(places(pool, || 7)(&["http://127.0.0.1:1".into()]).is_none());
    }
}
