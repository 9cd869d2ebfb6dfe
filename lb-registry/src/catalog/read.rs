//! Questions to the catalog.

use std::collections::BTreeMap;

use super::{Catalog, Check, CheckStatus, Indexes, Service};

/// One instance of a service with everything that is known about its health.
#[derive(Clone, Debug)]
pub struct Health<'a> {
    /// The instance.
    pub service: &'a Service,
    /// The checks of the whole agent, then those of the service.
    pub checks: Vec<&'a Check>,
}

impl Health<'_> {
    /// The worst state of all checks.
    #[must_use]
    pub fn status(&self) -> CheckStatus {
        self.checks
            .iter()
            .map(|check| check.status)
            .max()
            .unwrap_or(CheckStatus::Passing)
    }

    /// `true` if an operator took it out of use.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        self.checks
            .iter()
            .any(|check| super::maintenance::is_maintenance(check.id()))
    }
}

impl Catalog {
    /// The indexes.
    #[must_use]
    pub fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    /// The service with this id.
    #[must_use]
    pub fn service(&self, id: &str) -> Option<&Service> {
        self.services.get(id)
    }

    /// All services, ordered by id.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// The check with this id.
    #[must_use]
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.get(id)
    }

    /// All checks, ordered by id.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.checks.values()
    }

    /// The checks that belong to no service.
    pub fn agent_checks(&self) -> impl Iterator<Item = &Check> {
        self.agent_checks
            .iter()
            .filter_map(|id| self.checks.get(id))
    }

    /// The checks of the service with this id.
    pub fn checks_of(&self, id: &str) -> impl Iterator<Item = &Check> {
        let ids = self
            .services
            .get(id)
            .into_iter()
            .flat_map(|service| &service.checks);
        ids.filter_map(|id| self.checks.get(id))
    }

    /// All instances of a service, ordered by id, each with its checks.
    pub fn health(&self, name: &str) -> impl Iterator<Item = Health<'_>> {
        let ids = self.by_name.get(name).into_iter().flatten();
        let shared: Vec<&Check> = match self.by_name.contains_key(name) {
            true => self.agent_checks().collect(),
            false => Vec::new(),
        };
        ids.filter_map(|id| self.services.get(id))
            .map(move |service| {
                let own = self.checks_of(&service.definition.id);
                Health {
                    service,
                    checks: shared.iter().copied().chain(own).collect(),
                }
            })
    }

    /// Every service name with the union of its instances' tags, ordered.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for service in self.services.values() {
            let tags = names.entry(&service.definition.name).or_default();
            for tag in &service.definition.tags {
                if !tags.contains(&tag.as_str()) {
                    tags.push(tag);
                }
            }
        }
        names
    }
}
