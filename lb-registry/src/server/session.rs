//! `/v1/session/…`

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use super::health::named;
use super::reply::{Failure, Reply};
use super::route::Session as Resource;
use super::schema::{self, Schema, failed};
use super::view::SERF_HEALTH;
use crate::catalog::{Behavior, CatalogError, Session};
use crate::clock;

const LEAST_TTL: Duration = Duration::from_secs(10);
const MOST_TTL: Duration = Duration::from_secs(86_400);
const MOST_LOCK_DELAY: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Create {
    name: String,
    node: String,
    lock_delay: Value,
    behavior: String,
    #[serde(rename = "TTL")]
    ttl: String,
    checks: Vec<String>,
    node_checks: Vec<String>,
    service_checks: Vec<Value>,
}

impl Schema for Create {
    // Consul's decoder is strict for registrations only.
    const STRICT: bool = false;
    const FIELDS: &'static [&'static str] = &[
        "Name",
        "Node",
        "LockDelay",
        "Behavior",
        "TTL",
        "Checks",
        "NodeChecks",
        "ServiceChecks",
        "ID",
    ];
}

impl Call {
    pub(super) async fn session(&self, resource: &Resource) -> Result<Reply, Failure> {
        match resource {
            Resource::Create => self.create_session(),
            Resource::Destroy(id) => self.destroy_session(id),
            Resource::Renew(id) => self.renew_session(id),
            Resource::Info(id) => {
                self.query.consistency()?;
                named(id, "Missing session")?;
                is_uuid(id)?;
                self.sessions(|session| session.id == *id).await
            }
            Resource::Node(name) => {
                named(name, "Missing node name")?;
                let known = *name == self.shared.node.name;
                self.sessions(|_| known).await
            }
            Resource::List => self.sessions(|_| true).await,
        }
    }

    fn create_session(&self) -> Result<Reply, Failure> {
        if self.store().is_shared() {
            let text = "sessions are not offered by a server that is one of several";
            return Err(Failure(Reply::text(StatusCode::NOT_IMPLEMENTED, text)));
        }
        let create: Create = match self.body.is_empty() {
            true => Create::default(),
            false => schema::read(&self.body)?,
        };
        let now = clock::now();
        let mut session = Session::new(uuid(), now);
        if let Some(delay) = lock_delay(&create.lock_delay)? {
            session.lock_delay = delay.min(MOST_LOCK_DELAY);
        }
        self.access.must_be_full()?;
        session.behavior = match create.behavior.as_str() {
            "" | "release" => Behavior::Release,
            "delete" => Behavior::Delete,
            other => {
                return Err(Failure::internal(format!(
                    "Invalid Behavior setting '{other}'"
                )));
            }
        };
        if !create.node.is_empty() && create.node != self.shared.node.name {
            return Err(Failure::internal("Missing node registration"));
        }
        session.ttl = ttl(&create.ttl)?;
        session.name = create.name;
        let services = create
            .service_checks
            .iter()
            .filter_map(|check| {
                check
                    .as_object()?
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case("ID"))
            })
            .filter_map(|(_, id)| id.as_str());
        let checks = create.checks.into_iter().chain(create.node_checks);
        session.checks = checks
            .chain(services.map(Into::into))
            .filter(|check| check != SERF_HEALTH)
            .collect();
        let id = session.id.clone();
        match self
            .store()
            .change(|catalog, _| catalog.create_session(session))
        {
            Err(CatalogError::UnknownCheck(check)) => Err(Failure::internal(format!(
                "Missing check '{check}' registration"
            ))),
            done => Ok(done.map(|()| Reply::json(&json!({"ID": id})))?),
        }
    }

    fn destroy_session(&self, id: &str) -> Result<Reply, Failure> {
        named(id, "Missing session")?;
        is_uuid(id)?;
        self.access.must_be_full()?;
        self.store()
            .change(|catalog, now| catalog.destroy_session(id, now));
        Ok(Reply::json(&true))
    }

    fn renew_session(&self, id: &str) -> Result<Reply, Failure> {
        named(id, "Missing session")?;
        is_uuid(id)?;
        self.access.must_be_full()?;
        let renewed = self.store().change(|catalog, now| {
            catalog
                .renew_session(id, now)
                .map(|session| self.shared.node.session(session))
        });
        match renewed {
            Ok(session) => Ok(Reply::json(&[session])),
            Err(_) => Err(Failure::not_found(format!("Session id '{id}' not found"))),
        }
    }

    async fn sessions(&self, wanted: impl Fn(&Session) -> bool) -> Result<Reply, Failure> {
        self.wait(|catalog| catalog.indexes().sessions()).await?;
        let (index, found) = self.store().read(|catalog| {
            let found = catalog.sessions().filter(|session| wanted(session));
            let found: Vec<Value> = found
                .map(|session| self.shared.node.session(session))
                .collect();
            (catalog.indexes().sessions(), found)
        });
        let found = if self.access.is_full() {
            found
        } else {
            Vec::new()
        };
        Ok(Reply::json(&found).indexed(index))
    }
}

fn ttl(text: &str) -> Result<Option<Duration>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    // A negative one is not zero, which would mean without end.
    let (negative, ttl) = crate::duration::signed(text)
        .map_err(|error| Failure::internal(format!("Session TTL '{text}' invalid: {error}")))?;
    match ttl {
        Duration::ZERO => Ok(None),
        ttl if !negative && (LEAST_TTL..=MOST_TTL).contains(&ttl) => Ok(Some(ttl)),
        ttl => Err(Failure::internal(format!(
            "Invalid Session TTL '{}{}', must be between [10s=24h0m0s]",
            if negative { "-" } else { "" },
            ttl.as_nanos()
        ))),
    }
}

/// A text, or a number: seconds if it is small, else nanoseconds, as Consul guesses.
fn lock_delay(value: &Value) -> Result<Option<Duration>, Failure> {
    const SMALL: f64 = 1_000.0;
    match value {
        Value::Null => Ok(None),
        Value::String(text) => crate::duration::parse(text).map(Some).map_err(failed),
        Value::Number(number) => {
            // Less than nothing is nothing, and more than a minute is cut later; so nothing is lost here.
            let number = number.as_f64().unwrap_or_default().max(0.0);
            let nanos = if number < SMALL { number * 1e9 } else { number };
            Ok(Some(Duration::from_nanos(nanos as u64)))
        }
        _ => Err(failed("a lock delay is a text or a number")),
    }
}

/// Sessions are named by the textual form of a UUID; anything else cannot be looked up.
pub(super) fn is_uuid(id: &str) -> Result<(), Failure> {
    let why = match id.len() {
        36 if id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') => return Ok(()),
        36 => "Invalid UUID",
        _ => "UUID must be 36 characters",
    };
    Err(Failure::internal(format!(
        "failed session lookup: index error: {why}"
    )))
}

pub(super) fn uuid() -> String {
    let (a, b) = (fastrand::u64(..), fastrand::u64(..));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}
