//! One set of instances out of many EndpointSlices.
//!
//! ```
//! use lb_registry::Status;
//! use lb_registry::kubernetes::slices::{Slice, Slices};
//!
//! let slice: Slice = serde_json::from_str(r#"{
//!     "metadata": {"name": "web-abc", "resourceVersion": "7"},
//!     "addressType": "IPv4",
//!     "ports": [{"name": "http", "port": 8000}],
//!     "endpoints": [
//!         {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "zone": "a", "targetRef": {"name": "web-0"}},
//!         {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}}
//!     ]
//! }"#)?;
//! let mut slices = Slices::default();
//! slices.put(slice);
//! let set = slices.instances("web", None);
//! assert_eq!((set[0].id.as_str(), set[0].zone.as_deref()), ("10.0.0.2:8000", None));
//! assert_eq!((set[1].id.as_str(), set[1].status), ("web-0", Status::Passing));
//! assert_eq!(set[0].status, Status::Draining);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Instance, Status};

/// The part of `discovery.k8s.io/v1` EndpointSlice that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Slice {
    /// Name and version.
    pub metadata: Metadata,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The endpoints; `null` is none.
    pub endpoints: Option<Vec<Endpoint>>,
    /// The ports of every endpoint; `null` is none.
    pub ports: Option<Vec<Port>>,
}

/// Name and version of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Unique in its namespace.
    pub name: String,
    /// Opaque.
    pub resource_version: String,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Its addresses, which all lead to the same place: the first one counts.
    pub addresses: Vec<String>,
    /// How it is.
    pub conditions: Conditions,
    /// Where it is.
    pub zone: Option<String>,
    /// The node that it runs on.
    pub node_name: Option<String>,
    /// The pod behind it.
    pub target_ref: Option<TargetRef>,
}

/// How an endpoint is. What is not said counts as ready, serving and not terminating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// May get requests.
    pub ready: Option<bool>,
    /// As ready, whether it terminates or not.
    pub serving: Option<bool>,
    /// Is on its way out.
    pub terminating: Option<bool>,
}

/// The pod behind an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// Its name.
    pub name: String,
    /// Changes when another pod takes the name.
    pub uid: String,
}

/// One port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Port {
    /// Its name, empty if there is only one.
    pub name: Option<String>,
    /// Its number.
    pub port: Option<u16>,
}

/// All slices of one Service, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    by_name: BTreeMap<String, Slice>,
}

impl Conditions {
    /// The status that follows.
    #[must_use]
    pub fn status(self) -> Status {
        let serving = self.serving.or(self.ready).unwrap_or(true);
        match (
            self.terminating.unwrap_or(false),
            self.ready.unwrap_or(true),
        ) {
            (true, _) if serving => Status::Draining,
            (false, true) => Status::Passing,
            _ => Status::Critical,
        }
    }
}

impl Slices {
    /// Adds a slice or replaces it.
    pub fn put(&mut self, slice: Slice) {
        self.by_name.insert(slice.metadata.name.clone(), slice);
    }

    /// Removes a slice.
    pub fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The instances, ordered by id. Of several with one id the best one counts: a pod that moves from one slice to
    /// another is in both for a moment. A pod with addresses of both families, which are in slices of their own, is
    /// where its IPv4 address leads, whichever slice comes first or is brought up to date first.
    #[must_use]
    pub fn instances(&self, service: &str, port_name: Option<&str>) -> Vec<Instance> {
        let mut found: BTreeMap<String, (bool, Instance)> = BTreeMap::new();
        for slice in self
            .by_name
            .values()
            .filter(|slice| slice.address_type != "FQDN")
        {
            let Some(port) = slice.port(port_name) else {
                continue;
            };
            let is_second_family = slice.address_type == "IPv6";
            for instance in slice
                .endpoints
                .iter()
                .flatten()
                .filter_map(|one| one.instance(service, port))
            {
                let better = found.get(&instance.id).is_none_or(|(family, known)| {
                    (is_second_family, instance.status) < (*family, known.status)
                });
                if better {
                    found.insert(instance.id.clone(), (is_second_family, instance));
                }
            }
        }
        found.into_values().map(|(_, instance)| instance).collect()
    }
}

impl Slice {
    fn port(&self, name: Option<&str>) -> Option<u16> {
        let fits = |port: &&Port| name.is_none_or(|name| port.name.as_deref() == Some(name));
        self.ports.iter().flatten().find(fits)?.port
    }
}

impl Endpoint {
    fn instance(&self, service: &str, port: u16) -> Option<Instance> {
        let address = self.addresses.first()?;
        let pod = self.target_ref.as_ref().filter(|pod| !pod.name.is_empty());
        let id = pod.map_or_else(|| format!("{address}:{port}"), |pod| pod.name.clone());
        let mut instance = Instance::new(service, id, address, port);
        instance.status = self.conditions.status();
        instance.zone.clone_from(&self.zone);
        instance.revision = pod.map_or(0, |pod| incarnation(&pod.uid));
        if let Some(node) = &self.node_name {
            instance.metadata.insert("node".into(), node.clone());
        }
        Some(instance)
    }
}

/// A number that differs when the uid differs (FNV-1a).
fn incarnation(uid: &str) -> u64 {
    uid.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(name: &str, ready: Option<bool>) -> Slice {
        let endpoint = Endpoint {
            addresses: vec!["10.0.0.1".into()],
            conditions: Conditions {
                ready,
                ..Conditions::default()
            },
            ..Endpoint::default()
        };
        Slice {
            metadata: Metadata {
                name: name.into(),
                ..Metadata::default()
            },
            address_type: "IPv4".into(),
            endpoints: Some(vec![endpoint]),
            ports: Some(vec![Port {
                name: None,
                port: Some(80),
            }]),
        }
    }

    #[test]
    fn of_duplicates_the_ready_one_counts_in_whichever_slice_it_is() {
        for states in [[false, true], [true, false]] {
            let mut slices = Slices::default();
            slices.put(slice("a", Some(states[0])));
            slices.put(slice("b", Some(states[1])));
            let set = slices.instances("web", None);
            assert_eq!((set.len(), set[0].status), (1, Status::Passing));
        }
    }

    #[test]
    fn a_pod_of_two_families_keeps_its_address_whatever_its_slices_are_called_and_say() {
        let of = |name: &str, family: &str, address: &str, ready| {
            let mut slice = slice(name, Some(ready));
            slice.address_type = family.into();
            for endpoint in slice.endpoints.iter_mut().flatten() {
                endpoint.addresses = vec![address.into()];
                endpoint.target_ref = Some(TargetRef {
                    name: "web-0".into(),
                    uid: "1".into(),
                });
            }
            slice
        };
        for (four, six) in [("a", "b"), ("b", "a")] {
            for ready in [[true, true], [false, true], [true, false]] {
                let mut slices = Slices::default();
                slices.put(of(four, "IPv4", "10.0.0.1", ready[0]));
                slices.put(of(six, "IPv6", "fd00::1", ready[1]));
                let set = slices.instances("web", None);
                let found: Vec<&str> = set.iter().map(|one| one.address.as_str()).collect();
                assert_eq!(found, ["10.0.0.1"], "{four} {six} {ready:?}");
            }
        }
    }

    #[test]
    fn what_is_not_said_counts_as_ready() {
        assert_eq!(Conditions::default().status(), Status::Passing);
        let terminating = Conditions {
            terminating: Some(true),
            ready: Some(false),
            serving: Some(false),
        };
        assert_eq!(terminating.status(), Status::Critical);
    }

    #[test]
    fn names_and_missing_ports_are_skipped() {
        let mut slices = Slices::default();
        slices.put(Slice {
            address_type: "FQDN".into(),
            ..slice("a", None)
        });
        slices.put(Slice {
            ports: None,
            ..slice("b", None)
        });
        slices.put(Slice {
            endpoints: None,
            ..slice("c", None)
        });
        assert!(slices.instances("web", None).is_empty());
    }
}
