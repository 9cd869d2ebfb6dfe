//! Consul's JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::{CheckKind, CheckStatus, ServiceDefinition, TaggedAddress, Weights};
use crate::{Instance, Registration, Status, duration};

/// The body that registers an instance with its checks.
pub(super) fn registration(registration: &Registration) -> Value {
    let definition = ServiceDefinition::from_instance(&registration.instance);
    let checks: Vec<Value> = registration
        .checks()
        .into_iter()
        .map(|check| {
            let mut json = json!({
                "CheckID": check.id,
                "Name": check.name,
                "Status": check.status.unwrap_or(CheckStatus::Critical),
            });
            if let Some(after) = check.deregister_after {
                json["DeregisterCriticalServiceAfter"] = duration::format(after).into();
            }
            match check.kind {
                CheckKind::Http {
                    url,
                    interval,
                    timeout,
                    ..
                } => {
                    json["HTTP"] = url.into();
                    json["Interval"] = duration::format(interval).into();
                    json["Timeout"] = duration::format(timeout).into();
                }
                CheckKind::Ttl { ttl } => json["TTL"] = duration::format(ttl).into(),
                _ => {}
            }
            json
        })
        .collect();
    let mut json = json!(definition);
    json["Checks"] = checks.into();
    json
}

/// Does this text of a 500 say that the agent does not know what it was asked about?
pub(super) fn says_unknown(text: &str) -> bool {
    [
        "does not have associated TTL",
        "Unknown check",
        "Unknown service",
    ]
    .iter()
    .any(|part| text.contains(part))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    // Consul writes `null` for what is empty.
    tags: Option<Vec<String>>,
    #[serde(default)]
    address: String,
    meta: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    port: i64,
    weights: Option<Weights>,
    tagged_addresses: Option<std::collections::BTreeMap<String, TaggedAddress>>,
    #[serde(default)]
    create_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    check_id: String,
    status: String,
}

/// The instances in the answer to `/v1/health/service/<name>`.
pub(super) fn instances(body: &[u8]) -> Result<Vec<Instance>, serde_json::Error> {
    let entries: Vec<Entry> = serde_json::from_slice(body)?;
    Ok(entries.into_iter().map(Entry::into_instance).collect())
}

impl Entry {
    fn into_instance(self) -> Instance {
        let status = self.status();
        let Service {
            id,
            service,
            tags,
            address,
            meta,
            port,
            weights,
            tagged_addresses,
            create_index,
        } = self.service;
        let definition = ServiceDefinition {
            tags: tags.unwrap_or_default(),
            address,
            port,
            meta: meta.unwrap_or_default(),
            weights: weights.unwrap_or_default(),
            tagged_addresses: tagged_addresses.unwrap_or_default(),
            ..ServiceDefinition::new(service, id)
        };
        definition.to_instance(status, create_index, &self.node.address)
    }

    /// Maintenance is draining; a state that nobody knows is the worst one.
    fn status(&self) -> Status {
        let checks = || self.checks.iter().flatten();
        if checks().any(|check| crate::catalog::maintenance::is_maintenance(&check.check_id)) {
            return Status::Draining;
        }
        let states = checks().map(|check| CheckStatus::from_word(&check.status));
        let worst = states
            .map(|state| state.unwrap_or(CheckStatus::Critical))
            .max();
        worst.unwrap_or(CheckStatus::Passing).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_consul_1_8_is_understood() {
        let body = br#"[{"Node":{"Node":"vm","Address":"10.1.1.1"},
            "Service":{"ID":"a","Service":"web","Tags":null,"Address":"","Meta":null,"Port":80,
                "Weights":{"Passing":3,"Warning":1},"CreateIndex":13},
            "Checks":[{"CheckID":"serfHealth","Status":"passing"},{"CheckID":"x","Status":"warning"}]}]"#;
        let instances = instances(body).unwrap();
        let expected = Instance {
            weight: 1,
            status: Status::Warning,
            revision: 13,
            ..Instance::new("web", "a", "10.1.1.1", 80)
        };
        assert_eq!(instances, [expected]);
    }

    #[test]
    fn an_instance_without_checks_passes_however_that_is_written() {
        for checks in ["", r#","Checks":null"#, r#","Checks":[]"#] {
            let entry = r#"{"Node":{"Address":"h"},"Service":{"ID":"a","Service":"web"}"#;
            let instances = instances(format!("[{entry}{checks}}}]").as_bytes()).unwrap();
            assert_eq!(instances[0].status, Status::Passing, "{checks}");
        }
    }

    #[test]
    fn maintenance_is_draining() {
        let body = br#"[{"Node":{"Address":"h"},"Service":{"ID":"a","Service":"web"},
            "Checks":[{"CheckID":"_service_maintenance:a","Status":"critical"}]}]"#;
        assert_eq!(instances(body).unwrap()[0].status, Status::Draining);
    }

    #[test]
    fn a_registration_carries_every_fact() {
        let instance = Instance {
            zone: Some("a".into()),
            version: "1.2".into(),
            revision: 9,
            weight: 7,
            ..Instance::new("web", "w", "10.0.0.1", 80)
        };
        let registered = Registration {
            http_check: Some(crate::HttpCheck::default()),
            ..Registration::new(instance)
        };
        let json = registration(&registered);
        assert_eq!(
            json["Meta"],
            json!({"zone": "a", "version": "1.2", "lb_incarnation": "9"})
        );
        assert_eq!(json["Weights"]["Passing"], 7);
        assert_eq!(json["Checks"][0]["TTL"], "15s");
        assert_eq!(json["Checks"][1]["HTTP"], "http://10.0.0.1:80/health");
        assert_eq!(json["Checks"][1]["Interval"], "10s");
    }
}
