//! Where readings come from.
//!
//! A [`MetricSource`] is asked once per decision and answers with one
//! [`Observation`] per metric it could ask. It cannot fail as a whole: what it
//! does not mention counts as failed, and a failed metric never shrinks a fleet.
//!
//! [`Gauges`] is the one for numbers of this very process; [`from_fn`] wraps
//! anything that can be awaited. Prometheus is in `prometheus` (feature `prometheus`).
//!
//! ```
//! use lb_autoscale::source::Gauges;
//!
//! let gauges = Gauges::default();
//! gauges.set("active_simulations", 17.0);   // from anywhere, at any time
//! assert_eq!(gauges.get("active_simulations"), Some(17.0));
//! gauges.forget("active_simulations");      // unknown again, which is not zero
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use crate::inputs::{Observation, Pod};
use crate::spec::Spec;

/// Readings by metric id.
pub type Observations = BTreeMap<String, Observation>;

/// What an actuator sees of the fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Replicas that are asked for.
    pub replicas: u32,
    /// Replicas that exist, if that differs.
    pub status_replicas: Option<u32>,
    /// The pods, processes or instances.
    pub pods: Vec<Pod>,
    /// Nothing was ever asked for: zero means "not yet", not "switched off".
    pub fresh: bool,
}

/// Reads metrics. Called once per decision, under a deadline.
pub trait MetricSource: Send {
    /// Readings of the metrics of `spec`, for `fleet` as it is now.
    fn observe(&mut self, spec: &Spec, fleet: &Fleet) -> impl Future<Output = Observations> + Send;
}

/// Gauges of this process. Cheap to clone; all clones are the same gauges.
#[derive(Clone, Debug, Default)]
pub struct Gauges(Arc<Mutex<BTreeMap<String, f64>>>);

impl Gauges {
    /// Sets a gauge; NaN makes it unknown.
    pub fn set(&self, id: impl Into<String>, value: f64) {
        self.lock().insert(id.into(), value);
    }

    /// The latest value.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<f64> {
        self.lock().get(id).copied()
    }

    /// Makes a gauge unknown.
    pub fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MetricSource for Gauges {
    async fn observe(&mut self, _spec: &Spec, _fleet: &Fleet) -> Observations {
        self.lock()
            .iter()
            .map(|(id, value)| (id.clone(), Observation::value(*value)))
            .collect()
    }
}

/// Makes a source of an async closure that is given the fleet.
pub fn from_fn<F, Fut>(read: F) -> FromFn<F>
where
    F: FnMut(Fleet) -> Fut + Send,
    Fut: Future<Output = Observations> + Send,
{
    FromFn(read)
}

/// The source made by [`from_fn`].
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> std::fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FromFn")
    }
}

impl<F, Fut> MetricSource for FromFn<F>
where
    F: FnMut(Fleet) -> Fut + Send,
    Fut: Future<Output = Observations> + Send,
{
    async fn observe(&mut self, _spec: &Spec, fleet: &Fleet) -> Observations {
        (self.0)(fleet.clone()).await
    }
}
