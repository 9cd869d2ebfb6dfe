//! What a gateway is made of: everything on, unless a run says otherwise.

use serde::{Deserialize, Serialize};

/// An origin as the gateway knows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) uri: String,
}

/// Who accepts connections.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Front {
    /// lb-core's own server.
    Own,
    /// An axum router with the proxy as its fallback, and layers around it.
    Axum,
    /// hyper with its protections off and an accept loop that never pauses: a control.
    Naive,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) members: Vec<Member>,
    pub(crate) front: Front,
    /// Endpoints that a request may be tried on.
    pub(crate) attempts: u8,
    /// Retries per request.
    pub(crate) budget: f64,
    /// Retries per second that are always allowed.
    pub(crate) budget_floor: f64,
    pub(crate) ejection: bool,
    /// Round robin, which looks at nobody; otherwise least request.
    pub(crate) blind: bool,
    /// Ejects by time alone, without a share or a suspicion of sleep: a control.
    pub(crate) naive_ejection: bool,
    pub(crate) probes: bool,
    pub(crate) tcp_probes: bool,
    pub(crate) panic_threshold: f64,
    pub(crate) response_ms: u64,
    pub(crate) body_ms: u64,
    pub(crate) head_seconds: u64,
    /// The secret of the affinity cookie.
    pub(crate) affinity: Option<String>,
    pub(crate) affinity_seconds: u64,
    /// Requests at once, of all clients together (axum only).
    pub(crate) concurrency: Option<u32>,
    /// Requests per second of one client (axum only).
    pub(crate) rate: Option<u32>,
    /// The rate is counted by the wall clock: a control.
    pub(crate) naive_rate: bool,
    /// A panic in a request becomes its 500 (axum only).
    pub(crate) catch_panics: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            front: Front::Own,
            attempts: 2,
            budget: 0.2,
            budget_floor: 3.0,
            ejection: true,
            blind: false,
            naive_ejection: false,
            probes: true,
            tcp_probes: false,
            panic_threshold: 0.5,
            response_ms: 1000,
            body_ms: 1000,
            head_seconds: 8,
            affinity: None,
            affinity_seconds: 7200,
            concurrency: None,
            rate: None,
            naive_rate: false,
            catch_panics: true,
        }
    }
}
