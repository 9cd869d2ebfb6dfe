//! Everything about a server that can be set.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::access::AccessControl;
use super::targets::Current;
use super::view::Node;
use super::{CheckTargets, Compatibility, EmbeddedServer, ServerLimits, Shared, probe, session};
use crate::InProcess;

/// Sets up an [`EmbeddedServer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    store: InProcess,
    compatibility: Compatibility,
    token: Option<String>,
    targets: CheckTargets,
    limits: ServerLimits,
    node: String,
    address: String,
    datacenter: String,
    persist: Option<PathBuf>,
}

impl Builder {
    pub(super) fn new(store: InProcess) -> Self {
        Self {
            store,
            compatibility: Compatibility::default(),
            token: None,
            targets: CheckTargets::default(),
            limits: ServerLimits::default(),
            node: "lb-registry".into(),
            address: "127.0.0.1".into(),
            datacenter: "dc1".into(),
            persist: None,
        }
    }

    /// Whose status codes to use where they differ. Default: those of current Consul.
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        self
    }

    /// Denies everything to those who do not show this token. Default: no rules.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Where probes may go. Default: neither to loopback nor to link-local addresses.
    pub fn check_targets(mut self, targets: CheckTargets) -> Self {
        self.targets = targets;
        self
    }

    /// The bounds.
    pub fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Name of the one node. Default: `lb-registry`.
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = name.into();
        self
    }

    /// Address of services that register without one. Default: `127.0.0.1`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// Name of the one datacenter. Default: `dc1`.
    pub fn datacenter(mut self, name: impl Into<String>) -> Self {
        self.datacenter = name.into();
        self
    }

    /// Writes services, checks and keys to this file while [`serve`](EmbeddedServer::serve) runs.
    /// [`InProcess::restore`] reads it. Default: nothing is written.
    pub fn persist(mut self, file: impl Into<PathBuf>) -> Self {
        self.persist = Some(file.into());
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> EmbeddedServer {
        let targets = Current::new(self.targets);
        self.store
            .set_prober(probe::prober(targets.clone(), self.limits.probes));
        let version = match self.compatibility {
            Compatibility::V1_8 => "1.8.7",
            Compatibility::Current => "1.22.0",
        };
        let node = Node {
            name: self.node,
            id: session::uuid(),
            address: self.address,
            datacenter: self.datacenter,
            version,
        };
        EmbeddedServer {
            shared: Arc::new(Shared {
                blocked: Arc::new(Semaphore::new(self.limits.blocked_queries)),
                store: self.store,
                compatibility: self.compatibility,
                access: AccessControl { token: self.token },
                targets,
                limits: self.limits,
                node,
                persist: self.persist,
            }),
        }
    }
}
