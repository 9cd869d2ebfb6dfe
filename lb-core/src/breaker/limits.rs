//! How much an upstream takes.

use crate::error::ConfigError;

/// At most so much at once; `u32::MAX` is no limit. The defaults bound what one endpoint
/// can take of this machine, its ports and the endpoint's backlog, and nothing else.
///
/// | | upstream | each endpoint | beyond |
/// |---|---|---|---|
/// | requests in flight | [`requests`](Self::requests) | [`requests_per_endpoint`](Self::requests_per_endpoint) | another endpoint, then 503 |
/// | requests without a connection or a ready service | [`pending`](Self::pending) | [`pending_per_endpoint`](Self::pending_per_endpoint) | another endpoint, then 503 |
/// | connections | [`connections`](Self::connections) | [`connections_per_endpoint`](Self::connections_per_endpoint) | another endpoint, then 503 |
///
/// What is over a limit is refused at once: who wants a queue puts a
/// `limit::ConcurrencyLimitLayer` in front. Connections and
/// pending requests are those of the reverse proxy, and of `Balance` for services that
/// are not ready. A full endpoint is never charged with a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct UpstreamLimits {
    /// Requests in flight at all endpoints together. Default: no limit.
    pub requests: u32,
    /// Requests that wait for a connection or a ready service, together. Default: no limit.
    pub pending: u32,
    /// Connections to all endpoints together, unused ones included. Default: no limit.
    pub connections: u32,
    /// Requests in flight at one endpoint. Default: no limit.
    pub requests_per_endpoint: u32,
    /// Requests that wait at one endpoint. Default: 1024, about what a listener's backlog
    /// takes: beyond, attempts to connect are lost and repeated a second later.
    pub pending_per_endpoint: u32,
    /// Connections to one endpoint, unused ones and tunnels included. Default: 16384. One
    /// address can have some 28,000 from here before this machine is out of ports, which
    /// would look like the endpoint's failure.
    pub connections_per_endpoint: u32,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            requests: u32::MAX,
            pending: u32::MAX,
            connections: u32::MAX,
            requests_per_endpoint: u32::MAX,
            pending_per_endpoint: 1 << 10,
            connections_per_endpoint: 16 << 10,
        }
    }
}

impl UpstreamLimits {
    /// Sets [`requests`](Self::requests).
    #[must_use]
    pub fn requests(mut self, most: u32) -> Self {
        self.requests = most;
        self
    }

    /// Sets [`pending`](Self::pending).
    #[must_use]
    pub fn pending(mut self, most: u32) -> Self {
        self.pending = most;
        self
    }

    /// Sets [`connections`](Self::connections).
    #[must_use]
    pub fn connections(mut self, most: u32) -> Self {
        self.connections = most;
        self
    }

    /// Sets [`requests_per_endpoint`](Self::requests_per_endpoint).
    #[must_use]
    pub fn requests_per_endpoint(mut self, most: u32) -> Self {
        self.requests_per_endpoint = most;
        self
    }

    /// Sets [`pending_per_endpoint`](Self::pending_per_endpoint).
    #[must_use]
    pub fn pending_per_endpoint(mut self, most: u32) -> Self {
        self.pending_per_endpoint = most;
        self
    }

    /// Sets [`connections_per_endpoint`](Self::connections_per_endpoint).
    #[must_use]
    pub fn connections_per_endpoint(mut self, most: u32) -> Self {
        self.connections_per_endpoint = most;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let all = [
            ("requests", self.requests),
            ("pending", self.pending),
            ("connections", self.connections),
            ("requests_per_endpoint", self.requests_per_endpoint),
            ("pending_per_endpoint", self.pending_per_endpoint),
            ("connections_per_endpoint", self.connections_per_endpoint),
        ];
        match all.into_iter().find(|(_, most)| *most == 0) {
            Some((what, _)) => Err(ConfigError::Range {
                what,
                must: "at least 1",
            }),
            None => Ok(()),
        }
    }
}
