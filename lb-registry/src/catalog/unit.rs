//! What a change to the catalog touches.

use super::Catalog;

/// A part of the catalog that is changed, and where catalogs are shared also stored, as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Unit {
    /// A service with its checks, by its id.
    Service(String),
    /// The checks that belong to no service.
    Agent,
    /// A key with its value.
    #[cfg(any(feature = "server", feature = "etcd"))]
    Key(String),
}

impl Catalog {
    /// The unit that a check belongs to.
    pub(crate) fn unit_of_check(&self, check: &str) -> Option<Unit> {
        let owner = &self.checks.get(check)?.service;
        Some(match owner {
            Some((id, _)) => Unit::Service(id.clone()),
            None => Unit::Agent,
        })
    }

    /// The keys that begin with `prefix`.
    #[cfg(feature = "server")]
    pub(crate) fn units_of_keys(&self, prefix: &str) -> Vec<Unit> {
        self.keys(prefix)
            .map(|(key, _)| Unit::Key(key.to_owned()))
            .collect()
    }
}
