//! Bodies of registrations, and what makes them invalid, in the order in which Consul looks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::decode_check::{RawCheck, inner_check};
use super::reply::Failure;
use super::schema::{self, Schema, failed};
use super::targets::CheckTargets;
use crate::catalog::{CheckDefinition, CheckStatus, ServiceDefinition, TaggedAddress, Weights};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawService {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    #[serde(deserialize_with = "texts")]
    tags: Vec<String>,
    address: String,
    tagged_addresses: BTreeMap<String, Value>,
    #[serde(deserialize_with = "named_texts")]
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

/// Go reads a `null` among texts as an empty one.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<Option<String>>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
}

fn named_texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let texts = BTreeMap::<String, Option<String>>::deserialize(deserializer)?;
    let filled = texts
        .into_iter()
        .map(|(name, text)| (name, text.unwrap_or_default()));
    Ok(filled.collect())
}

/// A service that is valid by itself, and its checks, which are not looked at yet.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) service: ServiceDefinition,
    checks: Vec<RawCheck>,
}

/// Reads the body of a service registration.
pub(super) fn service(body: &[u8]) -> Result<Registration, Failure> {
    let raw: RawService = schema::read(body)?;
    let tagged = raw.tagged_addresses.into_iter().map(|(name, value)| {
        let RawAddress { address, port } = schema::decode(value)?;
        Ok((name, TaggedAddress { address, port }))
    });
    let mut tagged_addresses: BTreeMap<_, _> =
        tagged.collect::<Result<_, String>>().map_err(failed)?;
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
    for name in families(&raw.address).iter().copied() {
        let address = || TaggedAddress {
            address: raw.address.clone(),
            port: raw.port,
        };
        tagged_addresses.entry(name.into()).or_insert_with(address);
    }
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

/// The names under which Consul lists an IP address by itself.
fn families(address: &str) -> &'static [&'static str] {
    match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(_)) => &["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => &["lan_ipv6", "wan_ipv6"],
        Err(_) => &[],
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
