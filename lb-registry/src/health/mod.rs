//! What a service answers when somebody asks how it is: `/health`, `/health/detailed`, `/ready`, `/startup`.
//!
//! | path               | question                        | 503 when                                        |
//! |--------------------|---------------------------------|-------------------------------------------------|
//! | `/health`          | does the process run? (liveness)| never                                           |
//! | `/ready`           | may it get requests?            | starting, draining, or a dependency fails       |
//! | `/startup`         | has it started?                 | before [`HealthRoutes::set_started`]            |
//! | `/health/detailed` | how busy is the machine?        | CPU, memory or disk stays at or above its limit |
//!
//! Do not use `/health/detailed` as a liveness probe: a worker at 100 % CPU is busy, not broken.
//! The machine is sampled in the background once a second, and a limit must be passed three times in a
//! row before the verdict turns, and kept twice before it turns back ([`verdict`]). Before the first two
//! samples nothing is known, which the answer says with `null`.
//!
//! ```
//! use lb_registry::HealthRoutes;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let health = HealthRoutes::default();
//! let app: axum::Router = axum::Router::new().merge(health.router());
//! assert!(!health.is_ready().await);
//! health.set_started();
//! assert!(health.is_ready().await);
//! health.set_draining();
//! assert!(!health.is_ready().await);
//! # }
//! ```

#[cfg(feature = "sysinfo")]
mod cgroup;
mod dependency;
mod routes;
#[cfg(feature = "sysinfo")]
mod sample;
pub mod verdict;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::dependency::Dependency;
use self::verdict::{Thresholds, Usage, Verdict};
use crate::watch::AbortOnDrop;

const STARTING: u8 = 0;
const STARTED: u8 = 1;
const DRAINING: u8 = 2;

/// The health of this process and its routes. Clones share one state.
#[derive(Clone, Default)]
pub struct HealthRoutes {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    dependencies: Mutex<Vec<Arc<Dependency>>>,
    verdict: Mutex<Verdict>,
    sampler: OnceLock<AbortOnDrop>,
}

/// Why a process is not ready.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "status", content = "failed")]
#[non_exhaustive]
pub enum Readiness {
    /// It is ready.
    Ready,
    /// It has not started yet.
    Starting,
    /// It is on its way out.
    Draining,
    /// These dependencies fail.
    Unready(Vec<String>),
}

// === impl HealthRoutes ===

impl HealthRoutes {
    /// With other limits than 90 % for CPU, memory and disk.
    #[must_use]
    pub fn with_thresholds(thresholds: Thresholds) -> Self {
        let health = Self::default();
        *health.verdict() = Verdict::new(thresholds);
        health
    }

    /// Ready only while `check` succeeds. It is asked at most once a second and has one second to answer.
    #[must_use]
    pub fn dependency<F, Fut, E>(self, name: impl Into<String>, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let dependency = Arc::new(Dependency::new(name.into(), check));
        self.shared
            .dependencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(dependency);
        self
    }

    /// The start is over.
    pub fn set_started(&self) {
        // AcqRel: whoever sees the phase sees what was prepared before it. A drain is never undone by it.
        let _ = self.shared.phase.compare_exchange(
            STARTING,
            STARTED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// The end has begun; it stays so.
    pub fn set_draining(&self) {
        // Release: pairs with the Acquire loads of the routes.
        self.shared.phase.store(DRAINING, Ordering::Release);
    }

    /// `true` once the start is over.
    #[must_use]
    pub fn is_started(&self) -> bool {
        // Acquire: pairs with `set_started`.
        self.shared.phase.load(Ordering::Acquire) != STARTING
    }

    /// May this process get requests?
    pub async fn is_ready(&self) -> bool {
        self.readiness().await == Readiness::Ready
    }

    /// May this process get requests, and if not, why?
    pub async fn readiness(&self) -> Readiness {
        // Acquire: pairs with `set_started` and `set_draining`.
        match self.shared.phase.load(Ordering::Acquire) {
            STARTING => return Readiness::Starting,
            DRAINING => return Readiness::Draining,
            _ => {}
        }
        let dependencies = self
            .shared
            .dependencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut failed = Vec::new();
        for dependency in dependencies {
            if let Err(reason) = dependency.check().await {
                failed.push(format!("{}: {reason}", dependency.name()));
            }
        }
        match failed.is_empty() {
            true => Readiness::Ready,
            false => Readiness::Unready(failed),
        }
    }

    /// Takes in a sample of this machine, for those who sample by themselves (feature `sysinfo` off).
    pub fn observe(&self, usage: Usage) {
        self.verdict().observe(usage);
    }

    /// The routes, to be merged into an application.
    pub fn router(&self) -> axum::Router {
        self.start_sampling();
        routes::router(self.clone())
    }

    fn verdict(&self) -> std::sync::MutexGuard<'_, Verdict> {
        self.shared
            .verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(feature = "sysinfo")]
    fn start_sampling(&self) {
        if self.shared.sampler.get().is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.shared.sampler.get_or_init(|| {
                let task = runtime.spawn(sample::run(Arc::downgrade(&self.shared)));
                AbortOnDrop(task.abort_handle())
            });
        }
    }

    #[cfg(not(feature = "sysinfo"))]
    fn start_sampling(&self) {
        let _ = &self.shared.sampler;
    }
}

impl fmt::Debug for HealthRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthRoutes")
            .field("started", &self.is_started())
            .finish_non_exhaustive()
    }
}
