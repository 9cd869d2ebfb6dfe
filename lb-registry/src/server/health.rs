//! `/v1/health/…`: who is there and how they are.

use serde_json::{Value, json};

use super::Call;
use super::filter::shape::{self, Shape};
use super::query::Query;
use super::reply::{Failure, Reply};
use super::route::Health;
use super::view::{AgentService, CONSUL};
use crate::catalog::{Catalog, CheckStatus};

impl Call {
    pub(super) async fn health(&self, resource: &Health) -> Result<Reply, Failure> {
        let consistency = self.query.consistency()?;
        let (index, found) = match resource {
            Health::Service(name) => self.health_service(name).await?,
            Health::Checks(name) => {
                named(name, "Missing service name")?;
                self.wait(|catalog| catalog.indexes().service(name)).await?;
                self.store().read(|catalog| {
                    (
                        catalog.indexes().service(name),
                        self.checks_of(catalog, name),
                    )
                })
            }
            Health::Node(name) => {
                named(name, "Missing node name")?;
                self.wait(|catalog| catalog.indexes().checks()).await?;
                let known = *name == self.shared.node.name;
                let found = |catalog: &Catalog| {
                    if known {
                        self.all_checks(catalog)
                    } else {
                        Vec::new()
                    }
                };
                self.store()
                    .read(|catalog| (catalog.indexes().checks(), found(catalog)))
            }
            Health::State(state) => {
                named(state, "Missing check state")?;
                self.wait(|catalog| catalog.indexes().checks()).await?;
                self.store().read(|catalog| {
                    let mut checks = self.all_checks(catalog);
                    checks.retain(|check| state == "any" || check["Status"] == state.as_str());
                    (catalog.indexes().checks(), checks)
                })
            }
        };
        let shape = match resource {
            Health::Service(_) => shape::INSTANCE,
            Health::Checks(_) | Health::Node(_) | Health::State(_) => shape::CHECK,
        };
        let found = self.visible(found, shape)?;
        Ok(Reply::json(&found)
            .indexed(index)
            .consistency(consistency)
            .cached(&self.query))
    }

    async fn health_service(&self, name: &str) -> Result<(u64, Vec<Value>), Failure> {
        named(name, "Missing service name")?;
        let passing = match self.query.get("passing") {
            None => false,
            Some("") => true,
            Some(text) => {
                Query::boolean(text).ok_or_else(|| Failure::bad("Invalid value for ?passing"))?
            }
        };
        self.wait(|catalog| catalog.indexes().service(name)).await?;
        Ok(self.store().read(|catalog| {
            (
                catalog.indexes().service(name),
                self.instances(catalog, name, passing),
            )
        }))
    }

    fn instances(&self, catalog: &Catalog, name: &str, passing: bool) -> Vec<Value> {
        let node = &self.shared.node;
        let tags: Vec<&str> = self.query.all("tag").collect();
        if name == CONSUL && tags.is_empty() && catalog.health(CONSUL).next().is_none() {
            let own = json!({"Node": node.json(), "Service": node.consul(), "Checks": [node.serf_health()]});
            return vec![own];
        }
        let has_tags = |own: &[String]| {
            tags.iter()
                .all(|tag| own.iter().any(|own| own.eq_ignore_ascii_case(tag)))
        };
        catalog
            .health(name)
            .filter(|one| has_tags(&one.service.definition.tags))
            .filter(|one| !passing || one.status() == CheckStatus::Passing)
            .map(|one| {
                let own = &one.service.definition.tags;
                let tags = |check: &crate::catalog::Check| {
                    if check.service.is_some() {
                        own.as_slice()
                    } else {
                        &[]
                    }
                };
                let checks = one
                    .checks
                    .iter()
                    .map(|check| node.check(check, tags(check)));
                let checks: Vec<_> = std::iter::once(node.serf_health()).chain(checks).collect();
                json!({
                    "Node": node.json(),
                    "Service": AgentService::indexed(one.service),
                    "Checks": checks,
                })
            })
            .collect()
    }

    fn checks_of(&self, catalog: &Catalog, name: &str) -> Vec<Value> {
        let services = catalog.health(name).map(|one| one.service);
        let checks = services.flat_map(|service| catalog.checks_of(&service.definition.id));
        checks
            .map(|check| self.check_view(catalog, check))
            .collect()
    }

    fn all_checks(&self, catalog: &Catalog) -> Vec<Value> {
        let own = catalog
            .checks()
            .map(|check| self.check_view(catalog, check));
        std::iter::once(self.shared.node.serf_health())
            .chain(own)
            .collect()
    }

    /// What the caller may see and asks for.
    pub(super) fn visible(
        &self,
        mut found: Vec<Value>,
        shape: Shape,
    ) -> Result<Vec<Value>, Failure> {
        let filter = self.filter(shape)?;
        if !self.access.is_full() || !self.query.wants_this_node() {
            return Ok(Vec::new());
        }
        if let Some(filter) = filter {
            found.retain(|value| filter.matches(value));
        }
        Ok(found)
    }
}

pub(super) fn named(name: &str, missing: &str) -> Result<(), Failure> {
    match name {
        "" => Err(Failure::bad(missing)),
        _ => Ok(()),
    }
}
