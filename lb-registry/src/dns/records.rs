//! From records to instances.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::message::{Data, Record, Service};
use crate::Instance;

/// An answer that is good for a shorter time is used for this long all the same; Consul's are good for none.
const LEAST: Duration = Duration::from_secs(1);
/// One that is good for longer is asked for again after this.
const MOST: Duration = Duration::from_secs(30);

/// How long until these records are to be asked for again.
pub(super) fn good_for<'a>(records: impl IntoIterator<Item = &'a Record>) -> Duration {
    let shortest = records.into_iter().map(|record| record.ttl_seconds).min();
    Duration::from_secs(shortest.unwrap_or_default().into()).clamp(LEAST, MOST)
}

/// The services of the lowest priority; the others are for when none of these is left.
pub(super) fn services(records: &[Record]) -> Vec<&Service> {
    let all = records.iter().filter_map(|record| match &record.data {
        // A single dot: the service is decidedly not offered here (RFC 2782).
        Data::Service(service) if !service.target.is_empty() => Some(service),
        _ => None,
    });
    let all: Vec<&Service> = all.collect();
    let first = all.iter().map(|service| service.priority).min();
    all.into_iter()
        .filter(|service| Some(service.priority) == first)
        .collect()
}

/// The records with addresses of these names.
pub(super) fn about<'a>(
    names: &BTreeSet<&str>,
    records: impl IntoIterator<Item = &'a Record>,
) -> Vec<Record> {
    let fits = |record: &&Record| {
        matches!(record.data, Data::Address(_)) && names.contains(record.name.as_str())
    };
    records.into_iter().filter(fits).cloned().collect()
}

/// The addresses of this name among the records. A server lists those of an alias under the name that it stands for,
/// so with no other names asked for, all count.
pub(super) fn addresses(records: &[Record], name: Option<&str>) -> Vec<IpAddr> {
    let fits = |record: &&Record| name.is_none_or(|name| record.name == name);
    let found = records.iter().filter(fits);
    found
        .filter_map(|record| match record.data {
            Data::Address(address) => Some(address),
            _ => None,
        })
        .collect()
}

/// One instance per address and port, named by them.
pub(super) fn instances<'a>(
    service: &str,
    found: impl IntoIterator<Item = (SocketAddr, Option<&'a Service>)>,
) -> Vec<Instance> {
    let mut instances = BTreeMap::new();
    for (address, record) in found {
        let ip = address.ip().to_string();
        let mut instance = Instance::new(service, address.to_string(), ip, address.port());
        if let Some(record) = record {
            // Zero means "hardly ever", not "never".
            instance.weight = u32::from(record.weight).max(1);
            instance
                .metadata
                .insert("target".into(), record.target.clone());
        }
        instances.insert(address, instance);
    }
    instances.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, target: &str) -> Record {
        let service = Service {
            priority,
            weight,
            port: 80,
            target: target.into(),
        };
        Record {
            name: "web".into(),
            ttl_seconds: 0,
            data: Data::Service(service),
        }
    }

    #[test]
    fn an_address_that_is_named_twice_is_one_instance() {
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let found = instances("web", [(address, None), (address, None)]);
        assert_eq!(found, [Instance::new("web", "10.0.0.1:80", "10.0.0.1", 80)]);
    }

    #[test]
    fn only_the_lowest_priority_counts() {
        let records = [service(2, 1, "b"), service(1, 1, "a"), service(1, 9, "c")];
        let targets: Vec<&str> = services(&records)
            .iter()
            .map(|one| one.target.as_str())
            .collect();
        assert_eq!(targets, ["a", "c"]);
        assert!(services(&[service(0, 0, "")]).is_empty());
    }

    #[test]
    fn an_answer_is_used_for_a_second_at_least_and_half_a_minute_at_most() {
        let of = |ttl_seconds| {
            good_for(&[Record {
                ttl_seconds,
                ..service(1, 1, "a")
            }])
        };
        assert_eq!(
            (of(0), of(7), of(9_999)),
            (LEAST, Duration::from_secs(7), MOST)
        );
    }

    #[test]
    fn a_weight_of_zero_is_the_smallest_share_and_not_none() {
        let record = Service {
            priority: 1,
            weight: 0,
            port: 80,
            target: "a".into(),
        };
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        assert_eq!(instances("web", [(address, Some(&record))])[0].weight, 1);
    }
}
