//! How the catalog looks in JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::catalog::{
    Check, CheckKind, CheckStatus, Entry, Service, ServiceDefinition, Session, TaggedAddress,
    Weights,
};

/// The one node of this server.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) address: String,
    pub(super) datacenter: String,
    pub(super) version: &'static str,
}

/// Id of the check that says that the node is there.
pub(super) const SERF_HEALTH: &str = "serfHealth";
/// The service that every Consul server offers.
pub(super) const CONSUL: &str = "consul";

impl Node {
    pub(super) fn json(&self) -> Value {
        json!({
            "ID": self.id,
            "Node": self.name,
            "Address": self.address,
            "Datacenter": self.datacenter,
            "TaggedAddresses": {"lan": self.address, "wan": self.address},
            "Meta": {"consul-network-segment": ""},
            "CreateIndex": 1,
            "ModifyIndex": 1,
        })
    }

    pub(super) fn serf_health(&self) -> Value {
        json!({
            "Node": self.name,
            "CheckID": SERF_HEALTH,
            "Name": "Serf Health Status",
            "Status": CheckStatus::Passing,
            "Notes": "",
            "Output": "Agent alive and reachable",
            "ServiceID": "",
            "ServiceName": "",
            "ServiceTags": [],
            "Type": "",
            "Definition": {},
            "CreateIndex": 1,
            "ModifyIndex": 1,
        })
    }

    /// The server itself as a service.
    pub(super) fn consul(&self) -> Value {
        json!({
            "ID": CONSUL,
            "Service": CONSUL,
            "Tags": [],
            "Address": "",
            "Meta": {"version": self.version},
            "Port": 8300,
            "Weights": Weights::default(),
            "EnableTagOverride": false,
            "CreateIndex": 1,
            "ModifyIndex": 1,
        })
    }

    /// The server itself as the catalog lists it.
    pub(super) fn flat_consul(&self) -> Value {
        let definition = ServiceDefinition {
            port: 8300,
            meta: [("version".to_owned(), self.version.to_owned())].into(),
            ..ServiceDefinition::new(CONSUL, CONSUL)
        };
        self.flat(&definition, [1, 1])
    }

    /// One service as the catalog lists it; `indexes` are those of its creation and its last change.
    pub(super) fn flat(&self, definition: &ServiceDefinition, indexes: [u64; 2]) -> Value {
        json!({
            "ID": self.id,
            "Node": self.name,
            "Address": self.address,
            "Datacenter": self.datacenter,
            "TaggedAddresses": {"lan": self.address, "wan": self.address},
            "NodeMeta": {"consul-network-segment": ""},
            "ServiceKind": "",
            "ServiceID": definition.id,
            "ServiceName": definition.name,
            "ServiceTags": definition.tags,
            "ServiceAddress": definition.address,
            "ServiceTaggedAddresses": definition.tagged_addresses,
            "ServiceWeights": definition.weights,
            "ServiceMeta": definition.meta,
            "ServicePort": definition.port,
            "ServiceEnableTagOverride": definition.enable_tag_override,
            "ServiceProxy": {"MeshGateway": {}, "Expose": {}},
            "ServiceConnect": {},
            "CreateIndex": indexes[0],
            "ModifyIndex": indexes[1],
        })
    }

    pub(super) fn check(&self, check: &Check, tags: &[String]) -> Value {
        let (service_id, service_name) = check.service.clone().unwrap_or_default();
        json!({
            "Node": self.name,
            "CheckID": check.id(),
            "Name": check.definition.name,
            "Status": check.status,
            "Notes": check.definition.notes,
            "Output": check.output,
            "ServiceID": service_id,
            "ServiceName": service_name,
            "ServiceTags": tags,
            "Type": check.definition.kind.as_str(),
            "Definition": definition(&check.definition.kind),
            "CreateIndex": check.create_index,
            "ModifyIndex": check.modify_index,
        })
    }

    pub(super) fn session(&self, session: &Session) -> Value {
        let behavior = match session.behavior {
            crate::catalog::Behavior::Release => "release",
            crate::catalog::Behavior::Delete => "delete",
        };
        json!({
            "ID": session.id,
            "Name": session.name,
            "Node": self.name,
            "LockDelay": u64::try_from(session.lock_delay.as_nanos()).unwrap_or(u64::MAX),
            "Behavior": behavior,
            "TTL": session.ttl.map(crate::duration::format).unwrap_or_default(),
            "NodeChecks": [SERF_HEALTH],
            "ServiceChecks": session.checks,
            "CreateIndex": session.create_index,
            "ModifyIndex": session.create_index,
        })
    }
}

/// The agent's view of a service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AgentService<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    meta: &'a BTreeMap<String, String>,
    port: i64,
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: &'a BTreeMap<String, TaggedAddress>,
    weights: Weights,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modify_index: Option<u64>,
}

impl<'a> AgentService<'a> {
    pub(super) fn of(service: &'a Service) -> Self {
        let definition = &service.definition;
        Self {
            id: &definition.id,
            service: &definition.name,
            tags: &definition.tags,
            meta: &definition.meta,
            port: definition.port,
            address: &definition.address,
            tagged_addresses: &definition.tagged_addresses,
            weights: definition.weights,
            enable_tag_override: definition.enable_tag_override,
            content_hash: None,
            create_index: None,
            modify_index: None,
        }
    }

    /// The catalog's view, which has indexes.
    pub(super) fn indexed(service: &'a Service) -> Self {
        Self {
            create_index: Some(service.create_index),
            modify_index: Some(service.modify_index),
            ..Self::of(service)
        }
    }

    /// A number in hexadecimal that differs when the definition differs (FNV-1a over its JSON).
    pub(super) fn hash(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mix =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        format!("{:016x}", json.iter().fold(0xcbf2_9ce4_8422_2325, mix))
    }
}

pub(super) fn key(key: &str, entry: &Entry) -> Value {
    use base64::Engine;
    let value = match entry.value.is_empty() {
        true => Value::Null,
        false => base64::engine::general_purpose::STANDARD
            .encode(&entry.value)
            .into(),
    };
    let mut json = json!({
        "LockIndex": entry.lock_index,
        "Key": key,
        "Flags": entry.flags,
        "Value": value,
        "CreateIndex": entry.create_index,
        "ModifyIndex": entry.modify_index,
    });
    if let (Some(session), Some(fields)) = (&entry.session, json.as_object_mut()) {
        fields.insert("Session".into(), session.as_str().into());
    }
    json
}

fn definition(kind: &CheckKind) -> Value {
    use crate::duration::format;
    match kind {
        CheckKind::Http {
            url,
            method,
            interval,
            timeout,
            ..
        } => json!({
            "HTTP": url, "Method": method, "Interval": format(*interval), "Timeout": format(*timeout),
        }),
        CheckKind::Tcp {
            address,
            interval,
            timeout,
        } => json!({
            "TCP": address, "Interval": format(*interval), "Timeout": format(*timeout),
        }),
        CheckKind::Ttl { .. } | CheckKind::Alias { .. } | CheckKind::Maintenance => json!({}),
    }
}
