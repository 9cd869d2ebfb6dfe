//! What a registry can do: take registrations, and tell who is there.
//!
//! [`Registry`] is the writing half, used by [`Membership`](crate::Membership); [`Discovery`] is the
//! reading half, which hands out a [`Watch`]. Each backend implements the half or halves it has.
//!
//! ```
//! use lb_registry::{Discovery, InProcess, Instance, Registration, Registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), lb_registry::RegistryError> {
//! let registry = InProcess::default();
//! let watch = registry.watch("simulation");
//! let instance = Instance::new("simulation", "sim-1", "10.0.0.7", 8000);
//! registry.register(&Registration::new(instance)).await?;
//! assert_eq!(watch.latest().instances.len(), 1);
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::time::Duration;

use crate::catalog::{CheckDefinition, CheckKind, CheckStatus};
use crate::{Instance, Status, Watch};

/// An instance and how the registry learns about its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who registers.
    pub instance: Instance,
    /// Longest silence before the registry calls it critical. Default: 15 seconds.
    pub ttl: Duration,
    /// A question that the registry asks by itself, as well. Default: none.
    pub http_check: Option<HttpCheck>,
    /// Removal after it was critical for this long. Default: 1 minute, which is also Consul's least.
    pub deregister_after: Option<Duration>,
}

/// A question over HTTP: 2xx passes, 429 warns, everything else is critical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Path on the instance, with its leading slash. Default: `/health`.
    pub path: String,
    /// Pause between two questions. Default: 10 seconds.
    pub interval: Duration,
    /// How long an answer may take. Default: 1 second.
    pub timeout: Duration,
}

/// The registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No answer: refused, cut, too slow.
    #[error("the registry does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not know the instance (any more): register again.
    #[error("the registry does not know {id}")]
    Unknown {
        /// The instance's id.
        id: String,
    },
    /// The token is missing, wrong or not enough.
    #[error("the registry denies access: {reason}")]
    Denied {
        /// In the registry's words.
        reason: String,
    },
    /// It says no, and will say no again.
    #[error("the registry refuses ({status}): {reason}")]
    Refused {
        /// The HTTP status, or 0 if the registry does not speak HTTP.
        status: u16,
        /// In the registry's words.
        reason: String,
    },
    /// The answer is not one.
    #[error("the registry's answer cannot be understood: {0}")]
    Protocol(String),
}

/// The writing half of a registry. Clones are handles to the same registry.
pub trait Registry: Clone + Send + Sync + 'static {
    /// Registers, or replaces what was registered under the id. Idempotent.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; after [`RegistryError::Unreachable`] it may have happened or not.
    fn register(
        &self,
        registration: &Registration,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// A sign of life, with the status as the instance sees it. [`Status::Draining`] counts as passing here.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Unknown`] if the registry has forgotten the instance.
    fn heartbeat(
        &self,
        id: &str,
        status: Status,
        note: &str,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Announces that the instance takes nothing new, or with `None` that it does again.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    fn set_draining(
        &self,
        id: &str,
        reason: Option<&str>,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Removes the instance. One that is not there counts as removed.
    ///
    /// # Errors
    ///
    /// [`RegistryError`], never [`RegistryError::Unknown`].
    fn deregister(&self, id: &str) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// The reading half of a registry.
pub trait Discovery {
    /// Follows one service. Must be called inside a tokio runtime.
    fn watch(&self, service: &str) -> Watch;
}

// === impl HttpCheck ===

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            path: "/health".into(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
        }
    }
}

// === impl Registration ===

impl Registration {
    /// With a TTL of 15 seconds and removal after one critical minute.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self {
            instance,
            ttl: Duration::from_secs(15),
            http_check: None,
            deregister_after: Some(Duration::from_secs(60)),
        }
    }

    /// Id of the check that heartbeats report to.
    pub(crate) fn ttl_check_id(id: &str) -> String {
        format!("service:{id}:ttl")
    }

    /// The checks to register. They start passing: who registers is ready to serve.
    pub(crate) fn checks(&self) -> Vec<CheckDefinition> {
        let id = &self.instance.id;
        let named = |kind, id, name: &str| CheckDefinition {
            deregister_after: self.deregister_after,
            ..CheckDefinition::new(kind)
                .id(id)
                .name(name)
                .status(CheckStatus::Passing)
        };
        let ttl = named(
            CheckKind::Ttl { ttl: self.ttl },
            Self::ttl_check_id(id),
            "heartbeat",
        );
        let http = self.http_check.as_ref().map(|check| {
            let kind = CheckKind::Http {
                url: format!("{}{}", self.instance.uri(), check.path),
                method: "GET".into(),
                headers: Default::default(),
                body: String::new(),
                interval: check.interval,
                timeout: check.timeout,
            };
            named(kind, format!("service:{id}:http"), "answers over HTTP")
        });
        std::iter::once(ttl).chain(http).collect()
    }
}
