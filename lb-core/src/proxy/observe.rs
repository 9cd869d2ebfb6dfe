//! What the proxy counts. Handles are made with the proxy, so that counting a
//! request looks up nothing: install the recorder first.

use std::time::Duration;

use http::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use super::ProxyError;
use super::tunnel::TunnelEnd;
use crate::observe::ByClass;

const REQUESTS: &str = "lb_proxy_requests_total";
const REFUSALS: &str = "lb_proxy_refusals_total";
const RETRIES: &str = "lb_proxy_retries_total";
const RETRIES_REFUSED: &str = "lb_proxy_retries_refused_total";
const HEDGES: &str = "lb_proxy_hedges_total";
const HEDGES_WON: &str = "lb_proxy_hedges_won_total";
const CONNECTIONS: &str = "lb_proxy_connections_total";
const TUNNELS: &str = "lb_proxy_tunnels";
const TUNNELS_ENDED: &str = "lb_proxy_tunnels_ended_total";
const SECONDS: &str = "lb_proxy_response_seconds";

/// Registers the help texts.
pub(crate) fn describe() {
    describe_counter!(
        REQUESTS,
        "Answers of endpoints that were forwarded, by status class"
    );
    describe_counter!(REFUSALS, "Requests the proxy answered itself, by reason");
    describe_counter!(RETRIES, "Second and later attempts of requests");
    describe_counter!(
        RETRIES_REFUSED,
        "Attempts that the retry budget did not allow"
    );
    describe_counter!(HEDGES, "Second attempts beside the first");
    describe_counter!(HEDGES_WON, "Hedges that answered first");
    describe_counter!(CONNECTIONS, "Connections opened to endpoints");
    describe_gauge!(TUNNELS, Unit::Count, "Tunnels that are open");
    describe_counter!(TUNNELS_ENDED, "Tunnels that ended, by how");
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "From the pick of an endpoint to its answer's head"
    );
}

/// The counters of one proxy.
#[derive(Clone)]
pub(crate) struct Metrics {
    pool: String,
    requests: ByClass,
    retries: Counter,
    retries_refused: Counter,
    hedges: Counter,
    hedges_won: Counter,
    connections: Counter,
    tunnels: Gauge,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(pool: &str) -> Self {
        let pool = pool.to_owned();
        Self {
            requests: ByClass::new(REQUESTS, &pool),
            retries: counter!(RETRIES, "pool" => pool.clone()),
            retries_refused: counter!(RETRIES_REFUSED, "pool" => pool.clone()),
            hedges: counter!(HEDGES, "pool" => pool.clone()),
            hedges_won: counter!(HEDGES_WON, "pool" => pool.clone()),
            connections: counter!(CONNECTIONS, "pool" => pool.clone()),
            tunnels: gauge!(TUNNELS, "pool" => pool.clone()),
            seconds: histogram!(SECONDS, "pool" => pool.clone()),
            pool,
        }
    }

    pub(crate) fn answered(&self, status: StatusCode, after: Duration) {
        self.requests.count(status);
        self.seconds.record(after.as_secs_f64());
    }

    /// Rare enough to look the counter up.
    #[cold]
    pub(crate) fn refused(&self, reason: ProxyError) {
        counter!(REFUSALS, "pool" => self.pool.clone(), "reason" => reason.code()).increment(1);
    }

    pub(crate) fn retried(&self) {
        self.retries.increment(1);
    }

    pub(crate) fn retry_refused(&self) {
        self.retries_refused.increment(1);
    }

    pub(crate) fn hedged(&self) {
        self.hedges.increment(1);
    }

    pub(crate) fn hedge_won(&self) {
        self.hedges_won.increment(1);
    }

    pub(crate) fn connected(&self) {
        self.connections.increment(1);
    }

    /// Counts a tunnel until the guard is dropped.
    pub(crate) fn tunnel(&self) -> TunnelGuard {
        self.tunnels.increment(1.0);
        TunnelGuard {
            metrics: self.clone(),
            end: None,
        }
    }
}

/// An open tunnel.
pub(crate) struct TunnelGuard {
    metrics: Metrics,
    pub(crate) end: Option<TunnelEnd>,
}

impl Drop for TunnelGuard {
    fn drop(&mut self) {
        let end = match self.end {
            Some(TunnelEnd::Closed) => "closed",
            Some(TunnelEnd::Broken) => "broken",
            Some(TunnelEnd::Idle) => "idle",
            None => "cancelled",
        };
        self.metrics.tunnels.decrement(1.0);
        counter!(TUNNELS_ENDED, "pool" => self.metrics.pool.clone(), "end" => end).increment(1);
    }
}
