//! The handle, and the task that looks at the fleet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::detection::OutlierDetection;
use super::latency::Latency;
use super::ledger::Ledger;
use super::state::{Ejection, Record};
use super::success_rate::SuccessRate;
use super::window::BUCKETS;
use crate::clock;
use crate::endpoint::{EndpointId, Observer};
use crate::error::ConfigError;
use crate::observe;
use crate::pool::{Pool, WeakPool};

/// Outlier detection at work. Dropping it ends the detection and takes its
/// verdicts back.
#[must_use = "the detection ends when this is dropped"]
pub struct OutlierDetector {
    task: JoinHandle<()>,
    ledger: Arc<Ledger>,
    observer: Arc<dyn Observer>,
    pool: WeakPool,
}

/// What the detection knows of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Watched {
    /// Why and until when it is out, if it is.
    pub ejection: Option<Ejection>,
    /// Ejections that are not forgiven; the next lasts that much longer.
    pub ejections: u32,
    /// Ejections ever.
    pub ejections_total: u64,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Successes and requests of the last interval.
    pub success_rate: SuccessRate,
    /// How long the answers of the last interval took; none are timed unless they are
    /// compared.
    pub latency: Latency,
}

impl Watched {
    pub(super) fn of(record: &mut Record, now: Instant) -> Self {
        Self {
            ejection: record.ejection,
            ejections: record.count,
            ejections_total: record.ejections_total,
            consecutive_failures: record.row,
            success_rate: record.success_rate(now),
            latency: record.latency(now),
        }
    }
}

impl OutlierDetector {
    pub(super) fn start(config: OutlierDetection, pool: &Pool) -> Result<Self, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::NoRuntime { what: "outlier" })?;
        let ledger = Arc::new(Ledger::new(config, pool, clock::now()));
        let observer: Arc<dyn Observer> = Arc::clone(&ledger) as _;
        pool.add_observer(&observer);
        let task = runtime.spawn(run(Arc::clone(&ledger), pool.downgrade()));
        Ok(Self {
            task,
            ledger,
            observer,
            pool: pool.downgrade(),
        })
    }

    /// Goes on with other settings; who is out stays out until its time is over. A new
    /// interval begins to count anew.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] if a setting cannot work; nothing changes then.
    pub fn set(&self, detection: OutlierDetection) -> Result<(), ConfigError> {
        detection.check()?;
        self.ledger.set(detection, clock::now());
        Ok(())
    }

    /// The settings in force.
    #[must_use]
    pub fn detection(&self) -> OutlierDetection {
        OutlierDetection::clone(&self.ledger.config())
    }

    /// What is known of each endpoint, by name.
    #[must_use]
    pub fn watched(&self) -> BTreeMap<EndpointId, Watched> {
        self.ledger.watched(clock::now())
    }
}

impl Drop for OutlierDetector {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(pool) = self.pool.upgrade() {
            pool.remove_observer(&self.observer);
            self.ledger.acquit(&pool);
        }
    }
}

impl fmt::Debug for OutlierDetector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OutlierDetector")
            .field("detection", &self.ledger.config())
            .finish_non_exhaustive()
    }
}

/// Looks at the fleet until the pool is gone.
async fn run(ledger: Arc<Ledger>, weak: WeakPool) {
    loop {
        let Some(pool) = weak.upgrade() else { return };
        observe::guarded("outlier", || ledger.look(&pool, clock::now()));
        drop(pool);
        let next = tokio::time::sleep(ledger.config().interval / BUCKETS);
        tokio::select! {
            () = next => {}
            () = ledger.changed.notified() => {}
        }
    }
}
