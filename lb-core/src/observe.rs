//! The metrics of this crate, and one place that describes them all.
//!
//! They go through the `metrics` facade: install a recorder of your choice, call
//! [`describe`], and build pools and proxies afterwards. What each one means is in
//! `docs/metrics/lb-core.md` and `docs/metrics/lb-core-proxy.md`.
//!
//! ```
//! use lb_core::{Pool, observe};
//! use metrics_exporter_prometheus::PrometheusBuilder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recorder = PrometheusBuilder::new().install_recorder()?;
//! observe::describe();
//! let pool = Pool::builder("app").endpoints(["http://10.0.0.1:8000"]).build()?;
//! assert!(recorder.render().contains(r#"lb_endpoints{pool="app"} 1"#));
//! # Ok(()) }
//! ```

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

/// Answers by the class of their status. The handles are made once.
#[cfg(feature = "affinity")]
#[derive(Clone, Debug)]
pub(crate) struct ByClass([Counter; 5]);

#[cfg(feature = "affinity")]
impl ByClass {
    /// Of this pool, under the name `metric`.
    pub(crate) fn new(metric: &'static str, pool: &str) -> Self {
        let class =
            |class: &'static str| counter!(metric, "pool" => pool.to_owned(), "class" => class);
        Self(["1xx", "2xx", "3xx", "4xx", "5xx"].map(class))
    }

    /// An answer with this status. Of most it is known which counter that is before it is
    /// known which status.
    #[inline]
    pub(crate) fn count(&self, status: StatusCode) {
        if status.is_success() {
            self.0[1].increment(1);
        } else {
            self.count_other(status);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_other(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.0[class].increment(1);
    }
}

/// Counts what a pool's endpoints answered.
#[cfg(feature = "affinity")]
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pool: String,
    requests: ByClass,
}

#[cfg(feature = "affinity")]
impl Answers {
    pub(crate) fn new(pool: &str) -> Self {
        Self {
            requests: ByClass::new(REQUESTS, pool),
            pool: pool.to_owned(),
        }
    }

    /// An answer with this status.
    #[inline]
    pub(crate) fn answered(&self, status: StatusCode) {
        self.requests.count(status);
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
