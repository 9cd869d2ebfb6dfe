//! From Consul's words to ours and back.

use std::collections::BTreeMap;

use super::{Catalog, CheckStatus, Service, ServiceDefinition, Weights};
use crate::{Instance, Status};

const ZONE: &str = "zone";
const VERSION: &str = "version";
const INCARNATION: &str = "lb_incarnation";

impl Catalog {
    /// The instances of a service. One without an address of its own gets `agent_address`.
    #[must_use]
    pub fn instances(&self, name: &str, agent_address: &str) -> Vec<Instance> {
        self.health(name)
            .map(|health| {
                let status = match (health.is_in_maintenance(), health.status()) {
                    (true, _) => Status::Draining,
                    (false, status) => status.into(),
                };
                let Service {
                    definition,
                    create_index,
                    ..
                } = health.service;
                definition.to_instance(status, *create_index, agent_address)
            })
            .collect()
    }
}

impl From<CheckStatus> for Status {
    fn from(status: CheckStatus) -> Self {
        match status {
            CheckStatus::Passing => Self::Passing,
            CheckStatus::Warning => Self::Warning,
            CheckStatus::Critical => Self::Critical,
        }
    }
}

impl ServiceDefinition {
    /// The definition that registers this instance.
    #[must_use]
    pub fn from_instance(instance: &Instance) -> Self {
        let mut meta = instance.metadata.clone();
        if let Some(zone) = &instance.zone {
            meta.insert(ZONE.into(), zone.clone());
        }
        if !instance.version.is_empty() {
            meta.insert(VERSION.into(), instance.version.clone());
        }
        if instance.revision != 0 {
            meta.insert(INCARNATION.into(), instance.revision.to_string());
        }
        // Consul refuses a weight of zero; what takes nothing new is in maintenance instead.
        let weight = instance.weight.clamp(1, 65_535);
        Self {
            tags: instance.tags.clone(),
            address: instance.address.clone(),
            port: instance.port.into(),
            meta,
            weights: Weights {
                passing: weight,
                warning: weight,
            },
            ..Self::new(&instance.service, &instance.id)
        }
    }

    /// The instance that this definition describes. `created` is its incarnation if it names none.
    #[must_use]
    pub fn to_instance(&self, status: Status, created: u64, agent_address: &str) -> Instance {
        let mut metadata: BTreeMap<String, String> = self.meta.clone();
        let revision = metadata
            .remove(INCARNATION)
            .and_then(|text| text.parse().ok());
        let address = match self.address.as_str() {
            "" => agent_address,
            address => address,
        };
        Instance {
            id: self.id.clone(),
            service: self.name.clone(),
            address: address.trim_matches(['[', ']']).to_owned(),
            port: u16::try_from(self.port).unwrap_or(0),
            weight: match status {
                Status::Warning => self.weights.warning,
                _ => self.weights.passing,
            },
            zone: metadata.remove(ZONE),
            version: metadata.remove(VERSION).unwrap_or_default(),
            tags: self.tags.clone(),
            metadata,
            status,
            revision: revision.unwrap_or(created),
        }
    }
}
