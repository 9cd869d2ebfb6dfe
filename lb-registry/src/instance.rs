//! One running copy of a service, as a registry knows it.
//!
//! An [`Instance`] says where to reach it (`address`, `port`), how much it may get (`weight`), where it
//! stands (`zone`), what it is (`version`, `tags`, `metadata`) and how it is ([`Status`]). It is plain
//! data: comparing two instances compares every fact, so a changed weight or tag is a change like any
//! other (see [`diff`](mod@crate::diff)).
//!
//! # Which fact is which in Consul
//!
//! `zone`, `version` and the incarnation travel in `Meta` under the keys `zone`, `version` and
//! `lb_incarnation`; all other pairs are `metadata`. The weight is the `Passing` weight, or the
//! `Warning` weight while the instance is in that state.
//!
//! ```
//! use lb_registry::{Instance, Status};
//!
//! let instance = Instance::new("simulation", "sim-1", "10.0.0.7", 8000);
//! assert_eq!(instance.uri(), "http://10.0.0.7:8000");
//! assert_eq!(instance.status, Status::Passing);
//! assert!(instance.status.takes_new_work());
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How an instance is. The order is the order of severity: `max` of several is the state of the whole.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every check passes.
    #[default]
    Passing,
    /// Some check warns; the instance still works.
    Warning,
    /// On its way out: finishes what it has and takes nothing new.
    Draining,
    /// Some check fails.
    Critical,
}

/// One running copy of a service.
///
/// `revision` is the incarnation: it changes when another process answers under the same id, and stays
/// when only a weight, a tag or the status changes. Statistics about the instance may be kept as long as
/// it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique within the registry.
    pub id: String,
    /// The service that this is a copy of.
    pub service: String,
    /// Host name or IP address, without brackets.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Relative share of new work. Zero means none. Default: 1.
    #[serde(default = "one")]
    pub weight: u32,
    /// Failure domain, if known.
    #[serde(default)]
    pub zone: Option<String>,
    /// Version of the software, empty if unknown.
    #[serde(default)]
    pub version: String,
    /// Labels without a value.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Labels with a value.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// How it is.
    #[serde(default)]
    pub status: Status,
    /// The incarnation of the process behind the id.
    #[serde(default)]
    pub revision: u64,
}

fn one() -> u32 {
    1
}

// === impl Status ===

impl Status {
    /// `true` for passing and warning.
    #[must_use]
    pub fn takes_new_work(self) -> bool {
        matches!(self, Self::Passing | Self::Warning)
    }

    /// The lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Draining => "draining",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Instance ===

impl Instance {
    /// A passing instance of weight 1 without labels.
    #[must_use]
    pub fn new(
        service: impl Into<String>,
        id: impl Into<String>,
        address: impl Into<String>,
        port: u16,
    ) -> Self {
        Self {
            id: id.into(),
            service: service.into(),
            address: address.into(),
            port,
            weight: 1,
            zone: None,
            version: String::new(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            status: Status::Passing,
            revision: 0,
        }
    }

    /// `http://address:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// `address:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_gets_brackets() {
        assert_eq!(Instance::new("s", "i", "::1", 80).uri(), "http://[::1]:80");
    }

    #[test]
    fn the_worst_status_is_the_maximum() {
        assert_eq!(Status::Warning.max(Status::Critical), Status::Critical);
        assert_eq!(Status::Warning.max(Status::Draining), Status::Draining);
    }
}
