//! `/v1/agent/…`: what this agent was told.

use http::{HeaderName, StatusCode};
use serde_json::{Map, Value, json};

use super::filter::shape::{self, Shape};
use super::query::Query;
use super::reply::{Failure, Reply};
use super::route::Agent;
use super::view::AgentService;
use super::{Call, decode};
use crate::catalog::{Catalog, CatalogError, Check, CheckStatus, Health, Unit};
use crate::in_process::WriteError;

/// How good an instance is, as one word and one HTTP status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Checked(CheckStatus),
    Maintenance,
}

impl Grade {
    fn of(health: &Health<'_>) -> Self {
        match health.is_in_maintenance() {
            true => Self::Maintenance,
            false => Self::Checked(health.status()),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Checked(status) => status.as_str(),
            Self::Maintenance => "maintenance",
        }
    }

    fn code(self) -> StatusCode {
        match self {
            Self::Checked(CheckStatus::Passing) => StatusCode::OK,
            Self::Checked(CheckStatus::Warning) => StatusCode::TOO_MANY_REQUESTS,
            Self::Checked(CheckStatus::Critical) | Self::Maintenance => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

impl Call {
    pub(super) async fn agent(&self, resource: Agent) -> Result<Reply, Failure> {
        match resource {
            Agent::Register => self.register().await,
            Agent::Deregister(id) => self.deregister(&id).await,
            Agent::Maintenance(id) => self.maintenance(&id).await,
            Agent::NodeMaintenance => self.node_maintenance().await,
            Agent::Service(id) => self.agent_service(&id).await,
            Agent::Services => self.agent_services(),
            Agent::Checks => self.agent_checks(),
            Agent::HealthByName(name) => self.agent_health_by_name(&name),
            Agent::HealthById(id) => self.agent_health_by_id(&id),
            Agent::Myself => self.agent_self(),
            Agent::Members => Ok(Reply::json(&self.members())),
        }
    }

    async fn register(&self) -> Result<Reply, Failure> {
        let registration = decode::service(&self.body)?;
        self.access.must_write_service(&registration.service.name)?;
        let service = registration.service.clone();
        let checks = registration.checks(&self.shared.targets.rule())?;
        let replace = match self.query.get("replace-existing-checks") {
            Some("") => true,
            Some(text) => Query::boolean(text).unwrap_or(false),
            None => false,
        };
        let units = vec![Unit::Service(service.id.clone())];
        let register = |catalog: &mut Catalog, now| {
            catalog.register(service.clone(), checks.clone(), replace, now)
        };
        self.store().write(units, register).await?;
        Ok(Reply::empty())
    }

    async fn deregister(&self, id: &str) -> Result<Reply, Failure> {
        if id.is_empty() {
            return Err(Failure::internal("ServiceID missing"));
        }
        self.must_write_service_id(id)?;
        let units = vec![Unit::Service(id.to_owned())];
        let removed = self
            .store()
            .write(units, |catalog, now| catalog.deregister(id, now));
        match removed.await {
            Ok(()) => Ok(Reply::empty()),
            Err(WriteError::Refused(CatalogError::UnknownService(_))) if self.is_1_8() => {
                Ok(Reply::empty())
            }
            Err(WriteError::Refused(CatalogError::UnknownService(_))) => Err(unknown_service(id)),
            Err(other) => Err(other.into()),
        }
    }

    /// With rules on, what does not exist cannot be attributed and is refused first, as in Consul.
    pub(super) fn must_write_service_id(&self, id: &str) -> Result<(), Failure> {
        if self.shared.access.token.is_none() {
            return Ok(());
        }
        let name = self.store().read(|catalog| {
            catalog
                .service(id)
                .map(|service| service.definition.name.clone())
        });
        match name {
            Some(name) => self.access.must_write_service(&name),
            None if self.is_1_8() => Err(Failure::internal(format!(
                "Unknown service {{\"{id}\" {{}}}}"
            ))),
            None => Err(unknown_service(id)),
        }
    }

    async fn maintenance(&self, id: &str) -> Result<Reply, Failure> {
        if id.is_empty() {
            return Err(Failure::bad("Missing service ID"));
        }
        let reason = self.maintenance_reason()?;
        self.must_write_service_id(id)?;
        let units = vec![Unit::Service(id.to_owned())];
        let set = self.store().write(units, |catalog, now| {
            catalog.set_maintenance(id, reason, now)
        });
        match set.await {
            Ok(()) => Ok(Reply::empty()),
            Err(WriteError::Refused(CatalogError::UnknownService(_))) if self.is_1_8() => Err(
                Failure::not_found(format!("No service registered with ID \"{id}\"")),
            ),
            Err(WriteError::Refused(CatalogError::UnknownService(_))) => Err(unknown_service(id)),
            Err(other) => Err(other.into()),
        }
    }

    async fn node_maintenance(&self) -> Result<Reply, Failure> {
        let reason = self.maintenance_reason()?;
        self.access.must_be_full()?;
        let set = |catalog: &mut Catalog, now| catalog.set_node_maintenance(reason, now);
        self.store().write(vec![Unit::Agent], set).await?;
        Ok(Reply::empty())
    }

    /// The reason if it is to begin, `None` if it is to end.
    fn maintenance_reason(&self) -> Result<Option<&str>, Failure> {
        let text = self
            .query
            .get("enable")
            .ok_or_else(|| Failure::bad("Missing value for enable"))?;
        let enable = Query::boolean(text)
            .ok_or_else(|| Failure::bad(format!("Invalid value for enable: {text:?}")))?;
        Ok(enable.then(|| self.query.get("reason").unwrap_or_default()))
    }

    /// One service; with `?hash=` it waits until the definition differs.
    async fn agent_service(&self, id: &str) -> Result<Reply, Failure> {
        let mut changed = self.store().changed();
        let known = self.query.filled("hash");
        let block = self.query.block()?;
        let patience = self
            .query
            .filled("wait")
            .and(block)
            .map_or(super::query::DEFAULT_WAIT, |block| block.wait);
        let asked = async {
            loop {
                let reply = self.agent_service_now(id, known);
                match reply {
                    Ok(None) if changed.changed().await.is_ok() => {}
                    other => return other,
                }
            }
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(Some(reply))) => Ok(reply),
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(None)) | Err(_) => self
                .agent_service_now(id, None)
                .map(|reply| reply.unwrap_or_else(Reply::empty)),
        }
    }

    /// `None` while the definition has the hash that the caller knows.
    fn agent_service_now(&self, id: &str, known: Option<&str>) -> Result<Option<Reply>, Failure> {
        self.store().read(|catalog| {
            let service = catalog
                .service(id)
                .ok_or_else(|| Failure::not_found(format!("unknown service ID: {id}")))?;
            self.access.must_be_full()?;
            let mut view = AgentService::of(service);
            let hash = view.hash();
            if known == Some(hash.as_str()) {
                return Ok(None);
            }
            view.content_hash = Some(hash.clone());
            let name = HeaderName::from_static("x-consul-contenthash");
            Ok(Some(Reply::json(&view).header(name, &hash)))
        })
    }

    fn agent_services(&self) -> Result<Reply, Failure> {
        let services = self.store().read(|catalog| {
            let visible = catalog.services().filter(|_| self.access.is_full());
            visible
                .map(|one| (one.definition.id.clone(), json!(AgentService::of(one))))
                .collect()
        });
        Ok(Reply::json(&self.filtered_map(services, shape::SERVICE)?))
    }

    fn agent_checks(&self) -> Result<Reply, Failure> {
        let checks = self.store().read(|catalog| {
            let visible = catalog.checks().filter(|_| self.access.is_full());
            visible
                .map(|check| (check.id().to_owned(), self.check_view(catalog, check)))
                .collect()
        });
        Ok(Reply::json(&self.filtered_map(checks, shape::CHECK)?))
    }

    pub(super) fn check_view(&self, catalog: &Catalog, check: &Check) -> Value {
        let service = check
            .service
            .as_ref()
            .and_then(|(id, _)| catalog.service(id));
        let tags = service.map_or(&[][..], |service| &service.definition.tags);
        self.shared.node.check(check, tags)
    }

    fn agent_health_by_name(&self, name: &str) -> Result<Reply, Failure> {
        if name.is_empty() {
            return Err(Failure::internal("Bad request: Missing service Name"));
        }
        self.access.must_be_full()?;
        let (found, worst) = self.store().read(|catalog| {
            let health: Vec<_> = catalog.health(name).collect();
            let worst = health.iter().map(Grade::of).max();
            (
                health
                    .iter()
                    .map(|one| self.agent_health(one))
                    .collect::<Vec<_>>(),
                worst,
            )
        });
        let reason = format!("ServiceName {name} Not Found");
        Ok(self.graded(worst, &json!(found), &reason))
    }

    fn agent_health_by_id(&self, id: &str) -> Result<Reply, Failure> {
        if id.is_empty() {
            return Err(Failure::internal("Bad request: Missing serviceID"));
        }
        let found = self.store().read(|catalog| {
            let name = &catalog.service(id)?.definition.name;
            let health = catalog
                .health(name)
                .find(|one| one.service.definition.id == id)?;
            Some((self.agent_health(&health), Grade::of(&health)))
        });
        let nothing = json!({"AggregatedStatus": "critical", "Service": null, "Checks": null});
        if found.is_some() {
            self.access.must_be_full()?;
        }
        let missing = format!("ServiceId {id} not found");
        match found {
            Some((view, status)) => Ok(self.graded(Some(status), &view, &missing)),
            // The text form of "not found" is JSON all the same, as in Consul.
            None if self.query.get("format") == Some("text") => {
                let reply = Reply::json(&missing).status(StatusCode::NOT_FOUND);
                Ok(reply.header(HeaderName::from_static("x-consul-reason"), &missing))
            }
            None => Ok(self.graded(None, &nothing, &missing)),
        }
    }

    fn agent_health(&self, health: &Health<'_>) -> Value {
        let own = health.service.definition.tags.as_slice();
        let tags = |check: &Check| if check.service.is_some() { own } else { &[] };
        let checks = health
            .checks
            .iter()
            .map(|check| self.shared.node.check(check, tags(check)));
        json!({
            "AggregatedStatus": Grade::of(health).as_str(),
            "Service": AgentService::of(health.service),
            "Checks": checks.collect::<Vec<_>>(),
        })
    }

    /// The status as an HTTP status, so that a script can ask with one line.
    fn graded(&self, status: Option<Grade>, view: &Value, not_found: &str) -> Reply {
        let (code, reason) = match status {
            None => (StatusCode::NOT_FOUND, not_found),
            Some(grade) => (grade.code(), grade.as_str()),
        };
        let reply = match self.query.get("format") {
            Some("text") => Reply::plain(reason).status(code),
            _ => Reply::json(view).status(code),
        };
        reply.header(HeaderName::from_static("x-consul-reason"), reason)
    }

    fn agent_self(&self) -> Result<Reply, Failure> {
        self.access.must_be_full()?;
        let node = &self.shared.node;
        Ok(Reply::json(&json!({
            "Config": {
                "Datacenter": node.datacenter,
                "NodeName": node.name,
                "NodeID": node.id,
                "Revision": "",
                "Server": true,
                "Version": node.version,
            },
            "Member": self.members().first(),
            "Meta": {"consul-network-segment": ""},
        })))
    }

    fn members(&self) -> Vec<Value> {
        let node = &self.shared.node;
        let member = json!({
            "Name": node.name,
            "Addr": node.address,
            "Port": 8301,
            "Tags": {"dc": node.datacenter, "role": "consul", "id": node.id, "build": node.version},
            "Status": 1,
        });
        if self.access.is_full() {
            vec![member]
        } else {
            Vec::new()
        }
    }

    pub(super) fn filtered_map(
        &self,
        mut all: Map<String, Value>,
        shape: Shape,
    ) -> Result<Map<String, Value>, Failure> {
        if let Some(filter) = self.filter(shape)? {
            all.retain(|_, value| filter.matches(value));
        }
        Ok(all)
    }
}

pub(super) fn unknown_service(id: &str) -> Failure {
    Failure::not_found(format!(
        "Unknown service ID \"{id}\". Ensure that the service ID is passed, not the service name."
    ))
}
