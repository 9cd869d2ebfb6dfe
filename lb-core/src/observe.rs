//! The metrics of this crate, all in one place.

use std::panic::{AssertUnwindSafe, catch_unwind};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::{candidates::Candidates, endpoint::EndpointId};

/// Endpoints by pool: all members.
const ENDPOINTS: &str = "lb_endpoints";
/// Endpoints by pool: those that take new requests.
const ENDPOINTS_AVAILABLE: &str = "lb_endpoints_available";
/// 1 while a pool overlooks health.
const PANICKING: &str = "lb_panicking";

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
    crate::breaker::describe();
    crate::health::describe();
    crate::outlier::describe();
    crate::report::describe();
    #[cfg(feature = "affinity")]
    crate::balance::describe();
    #[cfg(feature = "affinity")]
    crate::split::describe();
    #[cfg(feature = "rate-limit")]
    crate::limit::describe();
    #[cfg(feature = "proxy")]
    crate::proxy::describe();
    describe_gauge!(
        PANICKING,
        "1 while so few endpoints are healthy that health is overlooked"
    );
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
