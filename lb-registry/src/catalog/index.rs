//! Which index answers which question.

use std::collections::BTreeMap;

/// The indexes of one catalog.
#[derive(Clone, Debug)]
pub struct Indexes {
    pub(super) last: u64,
    pub(super) services: u64,
    pub(super) checks: u64,
    pub(super) keys: u64,
    pub(super) sessions: u64,
    pub(super) by_service: BTreeMap<String, u64>,
    pub(super) extinction: Option<u64>,
}

impl Default for Indexes {
    fn default() -> Self {
        Self {
            // Consul never answers with index zero, which would mean "do not block".
            last: 1,
            services: 1,
            checks: 1,
            keys: 1,
            sessions: 1,
            by_service: BTreeMap::new(),
            extinction: None,
        }
    }
}

impl Indexes {
    /// The index of the latest change of anything.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// For questions about the instances or checks of one service.
    #[must_use]
    pub fn service(&self, name: &str) -> u64 {
        let missing = || self.extinction.unwrap_or(self.services.max(self.checks));
        self.by_service.get(name).copied().unwrap_or_else(missing)
    }

    /// For the list of services.
    #[must_use]
    pub fn services(&self) -> u64 {
        self.services
    }

    /// For lists of checks over all services.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks
    }

    /// For the list of nodes: there is one, and it never changes.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        1
    }

    /// For a list of keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// For sessions.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions
    }
}
