//! `/v1/catalog/…`: which services and nodes there are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Call;
use super::filter::shape;
use super::health::named;
use super::reply::{Failure, Reply};
use super::route::Catalog as Resource;
use super::view::{AgentService, CONSUL};
use crate::catalog::Catalog;

impl Call {
    pub(super) async fn catalog(&self, resource: &Resource) -> Result<Reply, Failure> {
        let consistency = self.query.consistency()?;
        let reply = match resource {
            Resource::Datacenters => return Ok(Reply::json(&[&self.shared.node.datacenter])),
            Resource::Nodes => {
                self.wait(|catalog| catalog.indexes().nodes()).await?;
                let nodes = self.visible(vec![self.shared.node.json()], shape::NODE)?;
                Reply::json(&nodes).indexed(1)
            }
            Resource::Node(name) => {
                self.node(name, |services| match services {
                    Some(services) => {
                        json!({"Node": self.shared.node.json(), "Services": services})
                    }
                    None => Value::Null,
                })
                .await?
            }
            Resource::NodeServices(name) => {
                self.node(name, |services| {
                    let node = services.is_some().then(|| self.shared.node.json());
                    let list = services.map(|services| services.into_values().collect::<Vec<_>>());
                    json!({"Node": node, "Services": list})
                })
                .await?
            }
            Resource::Services => self.services().await?,
            Resource::Service(name) => self.service(name).await?,
        };
        Ok(reply.consistency(consistency).cached(&self.query))
    }

    async fn services(&self) -> Result<Reply, Failure> {
        self.wait(|catalog| catalog.indexes().services()).await?;
        let hidden = !self.access.is_full() || !self.query.wants_this_node();
        let (index, names) = self.store().read(|catalog| {
            let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
            if !hidden {
                names.insert(CONSUL.into(), Vec::new());
                for (name, tags) in catalog.names() {
                    names.insert(name.into(), tags.into_iter().map(Into::into).collect());
                }
            }
            (catalog.indexes().services(), names)
        });
        Ok(Reply::json(&names).indexed(index))
    }

    async fn service(&self, name: &str) -> Result<Reply, Failure> {
        named(name, "Missing service name")?;
        self.wait(|catalog| catalog.indexes().service(name)).await?;
        let tags: Vec<&str> = self.query.all("tag").collect();
        let (index, found) = self.store().read(|catalog| {
            let services = catalog.health(name).map(|one| one.service);
            let tagged = services.filter(|service| {
                let own = &service.definition.tags;
                tags.iter()
                    .all(|tag| own.iter().any(|own| own.eq_ignore_ascii_case(tag)))
            });
            let mut found: Vec<Value> = tagged
                .map(|service| {
                    let indexes = [service.create_index, service.modify_index];
                    self.shared.node.flat(&service.definition, indexes)
                })
                .collect();
            if name == CONSUL && found.is_empty() && tags.is_empty() {
                found.push(self.shared.node.flat_consul());
            }
            (catalog.indexes().service(name), found)
        });
        Ok(Reply::json(&self.visible(found, shape::FLAT)?).indexed(index))
    }

    /// The services of a node, as `view` shows them; it is given `None` for a node that is not there.
    async fn node(
        &self,
        name: &str,
        view: impl Fn(Option<Map<String, Value>>) -> Value,
    ) -> Result<Reply, Failure> {
        named(name, "Missing node name")?;
        self.wait(|catalog| catalog.indexes().services()).await?;
        let (index, services) = self
            .store()
            .read(|catalog| (catalog.indexes().services(), self.by_id(catalog)));
        let services = self.filtered_map(services, shape::SERVICE)?;
        let found = *name == self.shared.node.name && self.access.is_full();
        Ok(match found {
            true => Reply::json(&view(Some(services))).indexed(index),
            false => Reply::json(&view(None)).indexed(1),
        })
    }

    fn by_id(&self, catalog: &Catalog) -> Map<String, Value> {
        let own = (CONSUL.to_owned(), self.shared.node.consul());
        let services = catalog.services();
        let views =
            services.map(|one| (one.definition.id.clone(), json!(AgentService::indexed(one))));
        std::iter::once(own).chain(views).collect()
    }
}
