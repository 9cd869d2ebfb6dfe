//! `/v1/agent/check/…`: registering checks and reporting to them.

use serde::Deserialize;

use super::reply::{Failure, Reply};
use super::route::Check;
use super::schema::{self, Schema};
use super::{Call, decode_check};
use crate::catalog::{Catalog, CatalogError, CheckStatus, Unit};
use crate::in_process::WriteError;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Update {
    status: String,
    output: String,
}

impl Schema for Update {
    const FIELDS: &'static [&'static str] = &["Status", "Output"];
}

impl Call {
    pub(super) async fn agent_check(&self, resource: &Check) -> Result<Reply, Failure> {
        match resource {
            Check::Register => self.register_check().await,
            Check::Deregister(id) => self.deregister_check(id).await,
            Check::Report(status, id) => {
                let note = self.query.get("note").unwrap_or_default();
                self.report(id, *status, note).await
            }
            Check::Update(id) => self.update(id).await,
        }
    }

    async fn register_check(&self) -> Result<Reply, Failure> {
        let raw = decode_check::check(&self.body)?;
        if raw.name.is_empty() {
            return Err(Failure::bad("Missing check name"));
        }
        if !raw.status.is_empty() && CheckStatus::from_word(&raw.status).is_none() {
            return Err(Failure::bad("Bad check status"));
        }
        raw.validate()?;
        let service = raw.service_id.clone();
        if service.is_empty() {
            self.access.must_be_full()?;
        } else {
            self.must_write_service_id(&service)?;
        }
        let id = raw.id_or_name();
        let definition = raw.definition(&self.shared.targets.rule())?.id(id);
        let service = Some(service.as_str()).filter(|id| !id.is_empty());
        // The id may be that of a check which belongs to another service now.
        let before = self
            .store()
            .read(|catalog| catalog.unit_of_check(&definition.id));
        let unit = service.map_or(Unit::Agent, |id| Unit::Service(id.to_owned()));
        let units = before
            .filter(|before| *before != unit)
            .into_iter()
            .chain([unit.clone()]);
        let register =
            |catalog: &mut Catalog, now| catalog.register_check(definition.clone(), service, now);
        match self.store().write(units.collect(), register).await {
            Err(WriteError::Refused(CatalogError::UnknownService(id))) if !self.is_1_8() => Err(
                Failure::not_found(format!("ServiceID \"{id}\" does not exist")),
            ),
            done => Ok(done.map(|()| Reply::empty())?),
        }
    }

    async fn deregister_check(&self, id: &str) -> Result<Reply, Failure> {
        if id.is_empty() {
            return Err(Failure::internal("CheckID missing"));
        }
        self.must_write_check(id)?;
        let removed = self
            .store()
            .write_check(id, |catalog, now| catalog.deregister_check(id, now));
        match removed.await {
            Ok(()) => Ok(Reply::empty()),
            Err(WriteError::Refused(_)) if self.is_1_8() => Ok(Reply::empty()),
            Err(WriteError::Refused(_)) => Err(unknown_check(id)),
            #[cfg(feature = "etcd")]
            Err(other) => Err(other.into()),
        }
    }

    async fn update(&self, id: &str) -> Result<Reply, Failure> {
        let Update { status, output } = schema::read(&self.body)?;
        let status = CheckStatus::from_word(&status)
            .ok_or_else(|| Failure::bad(format!("Invalid check status: '{status}'")))?;
        self.report(id, status, &output).await
    }

    async fn report(&self, id: &str, status: CheckStatus, note: &str) -> Result<Reply, Failure> {
        self.must_write_check(id)?;
        let reported = self
            .store()
            .write_check(id, |catalog, now| catalog.report(id, status, note, now));
        match reported.await {
            Ok(()) => Ok(Reply::empty()),
            Err(WriteError::Refused(CatalogError::UnknownCheck(_))) if !self.is_1_8() => {
                Err(unknown_check(id))
            }
            Err(other) => Err(other.into()),
        }
    }

    fn must_write_check(&self, id: &str) -> Result<(), Failure> {
        if self.shared.access.token.is_none() {
            return Ok(());
        }
        let owner = self
            .store()
            .read(|catalog| catalog.check(id).map(|check| check.service.clone()));
        match owner {
            Some(Some((_, name))) => self.access.must_write_service(&name),
            Some(None) => self.access.must_be_full(),
            None if self.is_1_8() => Err(Failure::internal(format!("Unknown check \"{id}\""))),
            None => Err(unknown_check(id)),
        }
    }
}

fn unknown_check(id: &str) -> Failure {
    Failure::not_found(format!(
        "Unknown check ID \"{id}\". Ensure that the check ID is passed, not the check name."
    ))
}
