//! The query string, and the parameters that every question may have.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::reply::Failure;

/// Without a `wait`, as in Consul.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(300);
/// The longest `wait`, as in Consul.
const MOST_WAIT: Duration = Duration::from_secs(600);

/// Decoded names and values in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// How fresh an answer must be. There is one store, so it only decides what the answer's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    Leader,
    Stale,
    Consistent,
}

/// Answer when the index has passed `index`, or after `wait`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) index: u64,
    pub(super) wait: Duration,
}

// === impl Query ===

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let decode = |text: &str| {
            let spaces = text.replace('+', " ");
            percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value, unless it is missing or empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Rejects what no handler supports.
    pub(super) fn check_namespace(&self) -> Result<(), Failure> {
        for name in ["ns", "partition"] {
            if self.filled(name).is_some() {
                return Err(Failure::bad(format!(
                    "Bad request: Invalid query parameter: \"{name}\" - {} are a Consul Enterprise feature",
                    if name == "ns" {
                        "Namespaces"
                    } else {
                        "Partitions"
                    },
                )));
            }
        }
        Ok(())
    }

    pub(super) fn check_datacenter(&self, datacenter: &str) -> Result<(), Failure> {
        match self.filled("dc") {
            Some(other) if other != datacenter => Err(Failure::internal("No path to datacenter")),
            _ => Ok(()),
        }
    }

    /// `false` if it asks for nodes with metadata that the one node here does not have.
    pub(super) fn wants_this_node(&self) -> bool {
        self.all("node-meta")
            .all(|pair| pair.trim_end_matches(':') == "consul-network-segment")
    }

    pub(super) fn consistency(&self) -> Result<Consistency, Failure> {
        if self.has("cached") && self.has("consistent") {
            return Err(Failure::bad(
                "Cannot specify ?cached with ?consistent, conflicting semantics.",
            ));
        }
        match (self.has("stale"), self.has("consistent")) {
            (true, true) => Err(Failure::bad(
                "Cannot specify ?stale with ?consistent, conflicting semantics.",
            )),
            (true, false) => Ok(Consistency::Stale),
            (false, true) => Ok(Consistency::Consistent),
            (false, false) => Ok(Consistency::Leader),
        }
    }

    /// `None` if the answer is wanted at once.
    pub(super) fn block(&self) -> Result<Option<Block>, Failure> {
        let wait = match self.filled("wait") {
            None => DEFAULT_WAIT,
            Some(text) => {
                crate::duration::parse(text).map_err(|_| Failure::bad("Invalid wait time"))?
            }
        };
        let index = match self.filled("index") {
            None => 0,
            Some(text) => text.parse().map_err(|_| Failure::bad("Invalid index"))?,
        };
        let wait = if wait.is_zero() {
            DEFAULT_WAIT
        } else {
            wait.min(MOST_WAIT)
        };
        Ok((index > 0).then_some(Block { index, wait }))
    }

    /// A boolean as Go reads it.
    pub(super) fn boolean(text: &str) -> Option<bool> {
        match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => None,
        }
    }
}

impl Consistency {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Stale => "stale",
            Self::Consistent => "consistent",
        }
    }
}
