//! Bodies of checks, and what makes them invalid.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::reply::Failure;
use super::schema::{self, Schema};
use super::targets::CheckTargets;
use crate::catalog::{CheckDefinition, CheckKind, CheckStatus};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Probes begin no faster than this, as in Consul.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
/// A probe that waits takes one of few places: it gives its place up after this.
const MOST_TIMEOUT: Duration = Duration::from_secs(60);

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
    #[serde(deserialize_with = "count")]
    success_before_passing: u32,
    #[serde(deserialize_with = "count")]
    failures_before_critical: u32,
    #[serde(deserialize_with = "count")]
    failures_before_warning: u32,
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

/// Less than none is none.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let count = i64::deserialize(deserializer)?.max(0);
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
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

/// A check within a service has neither an id of its own other than `CheckID`, nor another service.
pub(super) fn inner_check(value: Value) -> Result<RawCheck, String> {
    let has_id = value
        .as_object()
        .is_some_and(|fields| fields.contains_key("ID"));
    match has_id {
        true => Err("json: unknown field \"ID\"".into()),
        false => schema::decode(value),
    }
}

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
            failures_before_warning: self.failures_before_warning,
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
        let interval = self.interval.max(LEAST_INTERVAL);
        let timeout = if self.timeout.is_zero() {
            DEFAULT_TIMEOUT
        } else {
            self.timeout.min(MOST_TIMEOUT)
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
                interval,
                timeout,
            });
        }
        if !self.tcp.is_empty() {
            targets.check_authority(&self.tcp).map_err(invalid)?;
            return Ok(CheckKind::Tcp {
                address: self.tcp,
                interval,
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
