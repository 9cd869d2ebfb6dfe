//! What somebody registers: a service and its checks, before any state.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CheckStatus;

/// Shares of new work by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Weights {
    /// While every check passes.
    pub passing: u32,
    /// While some check warns.
    pub warning: u32,
}

/// A further address under a name such as `lan` or `wan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaggedAddress {
    /// Host name or IP address.
    pub address: String,
    /// TCP port.
    #[serde(default)]
    pub port: i64,
}

/// A service as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceDefinition {
    /// Unique on the agent.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service that this is a copy of.
    pub name: String,
    /// Labels without a value.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Host name or IP address; empty means the agent's own.
    #[serde(default)]
    pub address: String,
    /// TCP port. Consul takes any integer, so this does too.
    #[serde(default)]
    pub port: i64,
    /// Labels with a value.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// Shares of new work.
    #[serde(default)]
    pub weights: Weights,
    /// Kept and shown, without effect: there is one store, so nobody else could override tags.
    #[serde(default)]
    pub enable_tag_override: bool,
    /// Further addresses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
}

/// Who finds out how a service is, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CheckKind {
    /// The service reports by itself; silence of this length is critical.
    Ttl {
        /// The longest silence.
        ttl: Duration,
    },
    /// The agent asks: 2xx passes, 429 warns, everything else is critical.
    Http {
        /// Absolute `http` URL.
        url: String,
        /// Default `GET`.
        method: String,
        /// Headers to send.
        headers: BTreeMap<String, Vec<String>>,
        /// Body to send.
        body: String,
        /// Pause between two questions.
        interval: Duration,
        /// How long an answer may take.
        timeout: Duration,
    },
    /// The agent connects.
    Tcp {
        /// `host:port`.
        address: String,
        /// Pause between two attempts.
        interval: Duration,
        /// How long a connection may take.
        timeout: Duration,
    },
    /// As the other service is.
    Alias {
        /// Id of the other service.
        service: String,
    },
    /// Set by an operator, critical while it exists.
    Maintenance,
}

/// A check as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDefinition {
    /// Unique on the agent; empty means one is made up from the service.
    pub id: String,
    /// Empty means one is made up from the service.
    pub name: String,
    /// For humans.
    pub notes: String,
    /// Who finds out.
    pub kind: CheckKind,
    /// State at the start. Default: critical.
    pub status: Option<CheckStatus>,
    /// Remove the service after it was critical for this long.
    pub deregister_after: Option<Duration>,
    /// Good answers in a row that make it pass; the very first answer counts by itself. Default: 0, as 1.
    pub success_before_passing: u32,
    /// Bad answers in a row that make it critical; the very first answer counts by itself. Default: 0, as 1.
    pub failures_before_critical: u32,
    /// Bad answers in a row that make it warn. Default: 0, none do.
    #[serde(default)]
    pub failures_before_warning: u32,
}

// === impl Weights ===

impl Default for Weights {
    fn default() -> Self {
        Self {
            passing: 1,
            warning: 1,
        }
    }
}

// === impl ServiceDefinition ===

impl ServiceDefinition {
    /// A service without address, port and labels.
    #[must_use]
    pub fn new(name: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            tags: Vec::new(),
            address: String::new(),
            port: 0,
            meta: BTreeMap::new(),
            weights: Weights::default(),
            enable_tag_override: false,
            tagged_addresses: BTreeMap::new(),
        }
    }
}

// === impl CheckKind ===

impl CheckKind {
    /// Consul's word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ttl { .. } => "ttl",
            Self::Http { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Alias { .. } => "alias",
            Self::Maintenance => "maintenance",
        }
    }

    /// Pause between two probes, for kinds that the agent probes.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Self::Http { interval, .. } | Self::Tcp { interval, .. } => Some(*interval),
            Self::Ttl { .. } | Self::Alias { .. } | Self::Maintenance => None,
        }
    }
}

// === impl CheckDefinition ===

impl CheckDefinition {
    /// A check of this kind that starts critical, with a made-up id and name.
    #[must_use]
    pub fn new(kind: CheckKind) -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            notes: String::new(),
            kind,
            status: None,
            deregister_after: None,
            success_before_passing: 0,
            failures_before_critical: 0,
            failures_before_warning: 0,
        }
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the state at the start.
    #[must_use]
    pub fn status(mut self, status: CheckStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Removes the service after it was critical for this long.
    #[must_use]
    pub fn deregister_after(mut self, after: Duration) -> Self {
        self.deregister_after = Some(after);
        self
    }
}
