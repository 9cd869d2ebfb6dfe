//! Bodies of registrations, and what makes them invalid, in the order in which Consul looks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::reply::Failure;
use super::schema::{self, Schema, failed};
use super::targets::CheckTargets;
use crate::catalog::{
    CheckDefinition, CheckKind, CheckStatus, ServiceDefinition, TaggedAddress, Weights,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawService {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    tags: Vec<String>,
    address: String,
    tagged_addresses: BTreeMap<String, Value>,
    meta: BTreeMap<String, String>,
    port: i64,
    check: Value,
    checks: Vec<Value>,
    weights: Value,
    enable_tag_override: bool,
}

impl Schema for RawService {
    const FIELDS: &'static [&'static str] = &[
        "ID",
        "Name",
        "Tags",
        "Address",
        "TaggedAddresses",
        "Meta",
        "Port",
        "Check",
        "Checks",
        "Weights",
        "EnableTagOverride",
        "Kind",
        "Token",
        "Proxy",
        "Connect",
        "Namespace",
        "Partition",
        "SocketPath",
        "Locality",
    ];
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RawCheck {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "CheckID")]
    check_id: String,
    pub(super) name: String,
    notes: String,
    #[serde(rename = "ServiceID")]
    pub(super) service_id: String,
    pub(super) status: String,
    script_args: Vec<String>,
    args: Vec<String>,
    #[serde(rename = "DockerContainerID")]
    docker_container_id: String,
    #[serde(rename = "HTTP")]
    http: String,
    header: BTreeMap<String, Vec<String>>,
    method: String,
    body: String,
    #[serde(rename = "TCP")]
    tcp: String,
    #[serde(rename = "GRPC")]
    grpc: String,
    alias_service: String,
    alias_node: String,
    #[serde(deserialize_with = "duration")]
    interval: Duration,
    #[serde(deserialize_with = "duration")]
    timeout: Duration,
    #[serde(rename = "TTL", deserialize_with = "duration")]
    ttl: Duration,
    #[serde(deserialize_with = "duration")]
    deregister_critical_service_after: Duration,
    success_before_passing: u32,
    failures_before_critical: u32,
}

impl Schema for RawCheck {
    const FIELDS: &'static [&'static str] = &[
        "ID",
        "CheckID",
        "Name",
        "Notes",
        "ServiceID",
        "Token",
        "Status",
        "ScriptArgs",
        "Args",
        "DockerContainerID",
        "Shell",
        "HTTP",
        "Header",
        "Method",
        "Body",
        "TCP",
        "GRPC",
        "GRPCUseTLS",
        "TLSServerName",
        "TLSSkipVerify",
        "AliasService",
        "AliasNode",
        "Interval",
        "Timeout",
        "TTL",
        "DeregisterCriticalServiceAfter",
        "SuccessBeforePassing",
        "FailuresBeforeCritical",
        "FailuresBeforeWarning",
        "OutputMaxSize",
        "Namespace",
        "Partition",
        "DisableRedirects",
    ];
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawWeights {
    passing: i64,
    warning: i64,
}

impl Schema for RawWeights {
    const FIELDS: &'static [&'static str] = &["Passing", "Warning"];
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawAddress {
    address: String,
    port: i64,
}

impl Schema for RawAddress {
    const FIELDS: &'static [&'static str] = &["Address", "Port"];
}

/// A service that is valid by itself, and its checks, which are not looked at yet.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) service: ServiceDefinition,
    checks: Vec<RawCheck>,
}

/// A duration in text, or a number of nanoseconds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    use serde::de::Error;
    match Value::deserialize(deserializer)? {
        Value::String(text) if text.is_empty() => Ok(Duration::ZERO),
        Value::String(text) if text.starts_with('-') => Err(D::Error::custom(format!(
            "time: negative duration {text:?}"
        ))),
        Value::String(text) => crate::duration::parse(&text).map_err(D::Error::custom),
        Value::Number(number) => match number.as_i64() {
            Some(nanos) => Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))),
            None => Err(D::Error::custom(
                "a duration in nanoseconds is a whole number",
            )),
        },
        _ => Err(D::Error::custom("a duration is a text or a number")),
    }
}

// === services ===

/// Reads the body of a service registration.
pub(super) fn service(body: &[u8]) -> Result<Registration, Failure> {
    let raw: RawService = schema::read(body)?;
    let tagged = raw.tagged_addresses.into_iter().map(|(name, value)| {
        let RawAddress { address, port } = schema::decode(value)?;
        Ok((name, TaggedAddress { address, port }))
    });
    let tagged_addresses = tagged.collect::<Result<_, String>>().map_err(failed)?;
    let single = inner_check(raw.check).map_err(failed)?;
    let several: Vec<RawCheck> = raw
        .checks
        .into_iter()
        .map(inner_check)
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    // Go's zero value of the single check means "no check".
    let single = Some(single).filter(|check| *check != RawCheck::default());
    let checks = several.into_iter().chain(single).collect();
    let weights = match raw.weights {
        Value::Null => None,
        weights => Some(schema::decode::<RawWeights>(weights).map_err(failed)?),
    };
    if raw.name.is_empty() {
        return Err(Failure::bad("Missing service name"));
    }
    if is_any_address(&raw.address) {
        return Err(Failure::bad("Invalid service address"));
    }
    let weights = weights.map_or(Ok(Weights::default()), |weights| checked_weights(&weights))?;
    check_meta(&raw.meta)?;
    let id = if raw.id.is_empty() {
        raw.name.clone()
    } else {
        raw.id
    };
    let service = ServiceDefinition {
        tags: raw.tags,
        address: raw.address,
        port: raw.port,
        meta: raw.meta,
        weights,
        enable_tag_override: raw.enable_tag_override,
        tagged_addresses,
        ..ServiceDefinition::new(raw.name, id)
    };
    Ok(Registration { service, checks })
}

impl Registration {
    /// The checks, if all of them are valid.
    pub(super) fn checks(self, targets: &CheckTargets) -> Result<Vec<CheckDefinition>, Failure> {
        for check in &self.checks {
            check.validate()?;
        }
        let bad_status = |check: &RawCheck| {
            !check.status.is_empty() && CheckStatus::from_word(&check.status).is_none()
        };
        if self.checks.iter().any(bad_status) {
            return Err(Failure::bad(
                "Status for checks must 'passing', 'warning', 'critical'",
            ));
        }
        self.checks
            .into_iter()
            .map(|check| check.definition(targets))
            .collect()
    }
}

/// A check within a service has neither an id of its own other than `CheckID`, nor another service.
fn inner_check(value: Value) -> Result<RawCheck, String> {
    let has_id = value
        .as_object()
        .is_some_and(|fields| fields.contains_key("ID"));
    match has_id {
        true => Err("json: unknown field \"ID\"".into()),
        false => schema::decode(value),
    }
}

fn is_any_address(address: &str) -> bool {
    let bare = address.trim_matches(['[', ']']);
    bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn checked_weights(raw: &RawWeights) -> Result<Weights, Failure> {
    let invalid = |why: &str| Failure::bad(format!("Invalid Weights: {why}"));
    if raw.passing < 1 {
        return Err(invalid("Passing must be greater than 0"));
    }
    if raw.warning < 0 {
        return Err(invalid("Warning must be greater or equal than 0"));
    }
    let narrow = |weight: i64| u16::try_from(weight).map(u32::from);
    match (narrow(raw.passing), narrow(raw.warning)) {
        (Ok(passing), Ok(warning)) => Ok(Weights { passing, warning }),
        _ => Err(invalid("DNS Weight must be between 0 and 65535")),
    }
}

fn check_meta(meta: &BTreeMap<String, String>) -> Result<(), Failure> {
    const PAIRS: usize = 64;
    const KEY_BYTES: usize = 128;
    const VALUE_BYTES: usize = 512;
    if meta.len() > PAIRS {
        return Err(Failure::bad(format!(
            "Invalid Service Meta: Node metadata cannot contain more than {PAIRS} key/value pairs"
        )));
    }
    let is_plain = |key: &str| {
        key.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    for (key, value) in meta {
        let why = match key.as_str() {
            "" => "Key cannot be blank".to_owned(),
            key if !is_plain(key) => "Key contains invalid characters".to_owned(),
            key if key.len() > KEY_BYTES => {
                format!("Key is too long (limit: {KEY_BYTES} characters)")
            }
            key if key.starts_with("consul-") => {
                "Key prefix 'consul-' is reserved for internal use".to_owned()
            }
            _ if value.len() > VALUE_BYTES => {
                format!("Value is too long (limit: {VALUE_BYTES} characters)")
            }
            _ => continue,
        };
        return Err(Failure::bad(format!(
            "Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): {why}"
        )));
    }
    Ok(())
}

// === checks ===

/// Reads the body of a check registration.
pub(super) fn check(body: &[u8]) -> Result<RawCheck, Failure> {
    schema::read(body)
}

impl RawCheck {
    fn is_script(&self) -> bool {
        !self.args.is_empty()
            || !self.script_args.is_empty()
            || !self.docker_container_id.is_empty()
    }

    fn is_alias(&self) -> bool {
        !self.alias_service.is_empty() || !self.alias_node.is_empty()
    }

    /// Consul's rules on which fields go together.
    pub(super) fn validate(&self) -> Result<(), Failure> {
        let asks = [&self.http, &self.tcp, &self.grpc]
            .iter()
            .any(|target| !target.is_empty());
        let needs_interval = self.is_script() || asks;
        let why = if !self.interval.is_zero() && !self.ttl.is_zero() {
            "Interval and TTL cannot both be specified"
        } else if needs_interval && self.interval.is_zero() {
            "Interval must be > 0 for Script, HTTP, or TCP checks"
        } else if needs_interval && self.is_alias() {
            "Interval cannot be set for Alias checks"
        } else if self.is_alias() && !self.ttl.is_zero() {
            "TTL must be not be set for Alias checks"
        } else if !needs_interval && !self.is_alias() && self.ttl.is_zero() {
            "TTL must be > 0 for TTL checks"
        } else {
            return Ok(());
        };
        Err(Failure::bad(format!("Invalid check: {why}")))
    }

    /// The id that was asked for, or else the name.
    pub(super) fn id_or_name(&self) -> String {
        let ids = [&self.check_id, &self.id, &self.name];
        ids.into_iter()
            .find(|text| !text.is_empty())
            .cloned()
            .unwrap_or_default()
    }

    /// The check, if this agent can do it and may ask where it is to ask.
    pub(super) fn definition(self, targets: &CheckTargets) -> Result<CheckDefinition, Failure> {
        let id = if self.check_id.is_empty() {
            self.id.clone()
        } else {
            self.check_id.clone()
        };
        let status = CheckStatus::from_word(&self.status);
        let after = self.deregister_critical_service_after;
        let definition = CheckDefinition {
            id,
            name: self.name.clone(),
            notes: self.notes.clone(),
            status,
            deregister_after: (!after.is_zero()).then_some(after),
            success_before_passing: self.success_before_passing,
            failures_before_critical: self.failures_before_critical,
            ..CheckDefinition::new(self.kind(targets)?)
        };
        Ok(definition)
    }

    fn kind(self, targets: &CheckTargets) -> Result<CheckKind, Failure> {
        let invalid = |why: String| Failure::bad(format!("Invalid check: {why}"));
        if self.is_script() {
            return Err(Failure::internal(
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' \
                 or 'enable_local_script_checks' to true (this agent never runs scripts)",
            ));
        }
        let timeout = if self.timeout.is_zero() {
            DEFAULT_TIMEOUT
        } else {
            self.timeout
        };
        if !self.http.is_empty() {
            targets.check_url(&self.http).map_err(invalid)?;
            return Ok(CheckKind::Http {
                url: self.http,
                method: if self.method.is_empty() {
                    "GET".into()
                } else {
                    self.method
                },
                headers: self.header,
                body: self.body,
                interval: self.interval,
                timeout,
            });
        }
        if !self.tcp.is_empty() {
            targets.check_authority(&self.tcp).map_err(invalid)?;
            return Ok(CheckKind::Tcp {
                address: self.tcp,
                interval: self.interval,
                timeout,
            });
        }
        if !self.grpc.is_empty() {
            return Err(invalid(
                "gRPC checks are not supported by this agent".into(),
            ));
        }
        match self.is_alias() {
            true => Ok(CheckKind::Alias {
                service: self.alias_service,
            }),
            false => Ok(CheckKind::Ttl { ttl: self.ttl }),
        }
    }
}
