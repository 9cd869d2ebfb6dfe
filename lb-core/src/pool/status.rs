//! What a pool looks like from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{
    breaker::Use,
    clock,
    endpoint::{Cause, Endpoint, EndpointId},
    pool::Pool,
    report::LoadReport,
};

/// A pool at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Name of its policy.
    pub policy: String,
    /// So few endpoints are healthy that health is overlooked.
    pub panicking: bool,
    /// Connections to all endpoints, unused ones included.
    pub connections: u32,
    /// Requests that wait for a connection or a ready service.
    pub pending: u32,
    /// The members in the order of their names.
    pub endpoints: Vec<EndpointStatus>,
}

/// A member at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Its name.
    pub id: EndpointId,
    /// Its address.
    pub uri: String,
    /// Which life of that name this is.
    pub incarnation: u64,
    /// Share of the traffic relative to the others.
    pub weight: u32,
    /// Where it runs.
    pub zone: Option<String>,
    /// Priority tier; 0 is used first.
    pub priority: u32,
    /// Facts that subsets select by.
    pub metadata: BTreeMap<String, String>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Connections to it, unused ones included.
    pub connections: u32,
    /// Requests that wait for a connection or for its service to be ready.
    pub pending: u32,
    /// Its circuit: `closed`, `open` or `half_open`.
    pub circuit: &'static str,
    /// Time until one request may try it, while its circuit is open.
    pub next_trial: Option<Duration>,
    /// Requests ever sent there.
    pub picks_total: u64,
    /// Failures ever recorded.
    pub failures_total: u64,
    /// Response time in seconds, a peak-sensitive average; `None` if unknown.
    pub latency_seconds: Option<f64>,
    /// Recent share of failures.
    pub failure_share: f64,
    /// Units of work there, whoever sent them, as far as known.
    pub work: f64,
    /// The last load report, while it is fresh.
    pub report: Option<LoadReport>,
    /// The three states that affinity knows.
    pub state: State,
    /// Takes no new requests by order.
    pub draining: bool,
    /// Everything that stands against it.
    pub reasons: Vec<Cause>,
}

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum State {
    /// New requests.
    Active,
    /// Requests that are bound to it, no others.
    Draining,
    /// None.
    Down,
}

impl State {
    /// The state that follows from the reasons against an endpoint.
    #[must_use]
    pub fn from_reasons(reasons: &[Cause]) -> Self {
        match reasons {
            [] => Self::Active,
            [Cause::Draining] => Self::Draining,
            _ => Self::Down,
        }
    }
}

pub(crate) fn of(pool: &Pool) -> PoolStatus {
    let now = clock::now();
    let snapshot = pool.shared.current.load();
    let users = pool.shared.gauges.users();
    PoolStatus {
        connections: users.count(Use::Connection),
        pending: users.count(Use::Pending),
        name: pool.shared.name.clone(),
        policy: snapshot.policy.clone(),
        panicking: snapshot.candidates.is_panicking(),
        endpoints: snapshot
            .candidates
            .entries
            .iter()
            .map(|entry| member(&entry.endpoint, now))
            .collect(),
    }
}

fn member(endpoint: &Endpoint, now: std::time::Instant) -> EndpointStatus {
    let stats = endpoint.stats();
    let circuit = *stats.circuit();
    let reasons: Vec<Cause> = Cause::ALL
        .into_iter()
        .filter(|cause| stats.has(*cause))
        .collect();
    EndpointStatus {
        id: endpoint.id().clone(),
        uri: endpoint.uri().to_string(),
        incarnation: endpoint.incarnation(),
        weight: endpoint.weight(),
        zone: endpoint.zone().map(Into::into),
        priority: endpoint.priority(),
        metadata: endpoint.metadata().clone(),
        in_flight: stats.in_flight(),
        connections: stats.users.count(Use::Connection),
        pending: stats.users.count(Use::Pending),
        circuit: circuit.code(),
        next_trial: circuit
            .next_trial()
            .map(|at| at.saturating_duration_since(now)),
        picks_total: stats.picks_total(),
        failures_total: stats.failures_total(),
        latency_seconds: stats.peak_latency_seconds(now),
        failure_share: stats.failure_share(now),
        work: stats.work(now),
        report: stats
            .load_report(now)
            .map(|report| LoadReport::clone(&report)),
        state: State::from_reasons(&reasons),
        draining: reasons.contains(&Cause::Draining),
        reasons,
    }
}
