//! The metrics of this crate, all in one place.

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(feature = "affinity")]
use http::StatusCode;
#[cfg(feature = "affinity")]
use metrics::Counter;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::{candidates::Candidates, endpoint::EndpointId};

/// Endpoints by pool: all members.
const ENDPOINTS: &str = "lb_endpoints";
/// Endpoints by pool: those that take new requests.
const ENDPOINTS_AVAILABLE: &str = "lb_endpoints_available";
/// 1 while a pool overlooks health.
const PANICKING: &str = "lb_panicking";

/// Answers of in-process endpoints, by pool and status class.
#[cfg(feature = "affinity")]
const REQUESTS: &str = "lb_balance_requests_total";
/// Requests without an endpoint's answer, by pool and reason.
#[cfg(feature = "affinity")]
const REFUSALS: &str = "lb_balance_refusals_total";

/// Panics of observers that were told an outcome.
const OBSERVER_PANICS: &str = "lb_observer_panics_total";

/// Panics in turns of background tasks, by what.
const TURN_PANICS: &str = "lb_turn_panics_total";

/// Describes every metric to the installed recorder; call it once at start, before pools are
/// built: a gauge is told when it changes, and one that changed before is not told again.
pub fn describe() {
    describe_gauge!(ENDPOINTS, Unit::Count, "Members of a pool");
    describe_gauge!(
        ENDPOINTS_AVAILABLE,
        Unit::Count,
        "Members of a pool that take new requests"
    );
    describe_counter!(
        OBSERVER_PANICS,
        "Panics of observers; each cost one observation"
    );
    describe_counter!(TURN_PANICS, "Background turns that panicked, by what");
    #[cfg(feature = "affinity")]
    {
        describe_counter!(REQUESTS, "Answers of in-process endpoints, by status class");
        describe_counter!(REFUSALS, "Requests without an endpoint's answer, by reason");
        crate::balance::describe();
        crate::split::describe();
    }
    crate::breaker::describe();
    crate::health::describe();
    crate::outlier::describe();
    crate::report::describe();
    #[cfg(feature = "rate-limit")]
    crate::limit::describe();
    #[cfg(feature = "proxy")]
    crate::proxy::describe();
    describe_gauge!(
        PANICKING,
        "1 while so few endpoints are healthy that health is overlooked"
    );
}

/// Counts what a pool's endpoints answered. The handles are made once.
#[cfg(feature = "affinity")]
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pool: String,
    /// By the first digit of the status, 1 to 5.
    requests: [Counter; 5],
}

#[cfg(feature = "affinity")]
impl Answers {
    pub(crate) fn new(pool: &str) -> Self {
        let pool = pool.to_owned();
        let class =
            |class: &'static str| counter!(REQUESTS, "pool" => pool.clone(), "class" => class);
        Self {
            requests: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            pool,
        }
    }

    /// An answer with this status.
    #[inline]
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.requests[class].increment(1);
    }

    /// No answer, for this reason. Rare enough to look the counter up.
    #[cold]
    pub(crate) fn refused(&self, why: &'static str) {
        counter!(REFUSALS, "pool" => self.pool.clone(), "reason" => why).increment(1);
    }
}

pub(crate) fn membership(pool: &str, candidates: &Candidates) {
    gauge!(ENDPOINTS, "pool" => pool.to_owned()).set(candidates.len() as f64);
    gauge!(ENDPOINTS_AVAILABLE, "pool" => pool.to_owned()).set(candidates.available().len() as f64);
    gauge!(PANICKING, "pool" => pool.to_owned())
        .set(f64::from(u8::from(candidates.is_panicking())));
}

/// Runs one turn of a background task, or one pick of a policy. A panic of what users
/// brought along (probes, policies, metrics, logs) costs this turn only.
pub(crate) fn guarded(what: &'static str, turn: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(turn)).is_err() {
        let told = || {
            tracing::error!(what, "a turn panicked");
            counter!(TURN_PANICS, "what" => what).increment(1);
        };
        // If that panics, too, there is nobody left to tell.
        drop(catch_unwind(told));
    }
}

#[cold]
pub(crate) fn observer_panicked(endpoint: &EndpointId) {
    let told = || {
        tracing::error!(%endpoint, "an observer panicked");
        counter!(OBSERVER_PANICS).increment(1);
    };
    // As in `guarded`.
    drop(catch_unwind(AssertUnwindSafe(told)));
}
