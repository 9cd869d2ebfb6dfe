//! How a request ended, as far as balancing cares.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::endpoint::Endpoint;

/// How a request ended, as far as balancing cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint did its work.
    Success,
    /// It took the work on and answered before that was done (202). The work
    /// counts on after the request ended, until a report or time tells. Who
    /// holds the lease while the work runs records `Success` instead.
    Accepted,
    /// It did not: a transport error, a timeout, a 5xx.
    Failure,
    /// It refused for now: 429 or 503. Counts as a failure for choosing.
    Overloaded,
    /// The caller gave up first. Says how long it took at least, not whether
    /// the endpoint is well.
    Cancelled,
}

impl Outcome {
    /// What the status of an answer says: 429 and 503 are overload, other 5xx
    /// failures, 202 is work taken on, everything else a success.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Overloaded,
            StatusCode::ACCEPTED => Self::Accepted,
            status if status.is_server_error() => Self::Failure,
            _ => Self::Success,
        }
    }

    /// Speaks against the endpoint.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Overloaded)
    }
}

/// One finished request, as told to an [`Observer`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Observation {
    /// How it ended.
    pub outcome: Outcome,
    /// From the pick to the outcome.
    pub latency: Duration,
    /// When it ended.
    pub now: Instant,
    /// How long the endpoint asked to be left alone, with a refusal.
    pub retry_after: Option<Duration>,
}

/// Is told every recorded outcome: the place for outlier detection, breakers
/// and metrics. Called on the request path: be quick, do not block.
pub trait Observer: Send + Sync + 'static {
    /// A request at `endpoint` ended.
    fn observed(&self, endpoint: &Endpoint, observation: &Observation);
}
