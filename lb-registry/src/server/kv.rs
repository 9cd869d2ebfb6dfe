//! `/v1/kv/…`

use http::{HeaderName, Method, StatusCode, header};

use super::reply::{Failure, Reply};
use super::session::is_uuid;
use super::{Call, view};
use crate::catalog::{Catalog, CatalogError, KvWrite, Unit};
use crate::clock;
use crate::in_process::WriteError;

impl Call {
    pub(super) async fn key(&self, key: &str) -> Result<Reply, Failure> {
        self.query.consistency()?;
        match self.method {
            Method::PUT => self.put_key(key).await,
            Method::DELETE => self.delete_key(key).await,
            _ => self.get_key(key).await,
        }
    }

    async fn get_key(&self, key: &str) -> Result<Reply, Failure> {
        let (keys, recurse) = (self.query.has("keys"), self.query.has("recurse"));
        if key.is_empty() && !keys && !recurse {
            return Err(Failure::bad("Missing key name"));
        }
        if !keys && !recurse {
            self.access.must_be_full()?;
        }
        self.wait(|catalog| {
            let entry = catalog.key(key).filter(|_| !keys && !recurse);
            entry.map_or_else(|| catalog.indexes().keys(), |entry| entry.modify_index)
        })
        .await?;
        let hidden = !self.access.is_full();
        Ok(self.store().read(|catalog| {
            let index = catalog.indexes().keys();
            if keys {
                let found = catalog.keys(key).filter(|_| !hidden).map(|(key, _)| key);
                let found: Vec<&str> = found.collect();
                if found.is_empty() && !key.is_empty() {
                    return Reply::empty().status(StatusCode::NOT_FOUND).indexed(index);
                }
                let found = found.into_iter();
                return Reply::json(&folded(key, self.query.get("separator"), found))
                    .indexed(index);
            }
            if recurse {
                let found = catalog.keys(key).filter(|_| !hidden);
                let found: Vec<_> = found.map(|(key, entry)| view::key(key, entry)).collect();
                return match found.is_empty() {
                    true => Reply::empty().status(StatusCode::NOT_FOUND).indexed(index),
                    false => Reply::json(&found).indexed(index),
                };
            }
            match catalog.key(key) {
                None => Reply::empty().status(StatusCode::NOT_FOUND).indexed(index),
                Some(entry) if self.query.has("raw") => {
                    raw(&entry.value).indexed(entry.modify_index)
                }
                Some(entry) => Reply::json(&[view::key(key, entry)]).indexed(entry.modify_index),
            }
        }))
    }

    async fn put_key(&self, key: &str) -> Result<Reply, Failure> {
        if key.is_empty() {
            return Err(Failure::bad("Missing key name"));
        }
        let flags = self.number("flags")?.unwrap_or(0);
        let cas = self.number("cas")?;
        let (acquire, release) = (self.query.get("acquire"), self.query.get("release"));
        let write = match (cas, acquire, release) {
            (None, None, None) => KvWrite::Always,
            (Some(index), None, None) => KvWrite::IfIndex(index),
            (None, Some(session), None) => KvWrite::Acquire(session),
            (None, None, Some(session)) => KvWrite::Release(session),
            _ => return Err(Failure::bad(conflict(cas, acquire, release))),
        };
        self.access.must_be_full()?;
        let now = clock::now();
        if acquire.is_some() && self.store().read(|catalog| catalog.is_locked_out(key, now)) {
            // Whoever asks, with a session or without.
            return Ok(Reply::json(&false));
        }
        match write {
            KvWrite::Acquire("") | KvWrite::Release("") => {
                return Err(Failure::internal("missing session"));
            }
            KvWrite::Acquire(session) => is_uuid(session)?,
            _ => {}
        }
        let value = self.body.to_vec();
        let mut written = false;
        let put = |catalog: &mut Catalog, now| {
            written = catalog.put_key(key, value.clone(), flags, write, now)?;
            Ok(())
        };
        let units = vec![Unit::Key(key.to_owned())];
        match self.store().write(units, put).await {
            // A session that has ended holds no lock that it could give up, and gets none.
            Err(WriteError::Refused(CatalogError::UnknownSession(_))) if release.is_some() => {
                Ok(Reply::json(&false))
            }
            Err(WriteError::Refused(CatalogError::UnknownSession(id))) => {
                Err(Failure::internal(format!("invalid session {id:?}")))
            }
            Err(other) => Err(other.into()),
            Ok(()) => Ok(Reply::json(&written)),
        }
    }

    async fn delete_key(&self, key: &str) -> Result<Reply, Failure> {
        let recurse = self.query.has("recurse");
        if key.is_empty() && !recurse {
            return Err(Failure::bad("Missing key name"));
        }
        let cas = self.number("cas")?;
        if recurse && cas.is_some() {
            return Err(Failure::bad(conflict(cas, None, None) + "&recurse="));
        }
        self.access.must_be_full()?;
        let units = match recurse {
            true => self.store().read(|catalog| catalog.units_of_keys(key)),
            false => vec![Unit::Key(key.to_owned())],
        };
        let mut deleted = true;
        let delete = |catalog: &mut Catalog, _| {
            match recurse {
                true => catalog.delete_keys(key),
                false => deleted = catalog.delete_key(key, cas),
            }
            Ok(())
        };
        self.store().write(units, delete).await?;
        Ok(Reply::json(&deleted))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let parse = |text: &str| {
            let invalid = || {
                Failure::internal(format!(
                    "strconv.ParseUint: parsing {text:?}: invalid syntax"
                ))
            };
            text.parse().map_err(|_| invalid())
        };
        self.query.get(name).map(parse).transpose()
    }
}

fn conflict(cas: Option<u64>, acquire: Option<&str>, release: Option<&str>) -> String {
    let cas = cas.map(|index| format!("cas={index}"));
    let acquire = acquire.map(|session| format!("acquire={session}"));
    let release = release.map(|session| format!("release={session}"));
    let flags: Vec<String> = [acquire, cas, release].into_iter().flatten().collect();
    format!("Conflicting flags: {}", flags.join("&"))
}

/// Keys up to the first separator after the prefix, each once.
fn folded<'a>(
    prefix: &str,
    separator: Option<&str>,
    keys: impl Iterator<Item = &'a str>,
) -> Vec<&'a str> {
    let fold = |key: &'a str| {
        let Some(separator) = separator.filter(|separator| !separator.is_empty()) else {
            return key;
        };
        let rest = key.get(prefix.len()..).unwrap_or_default();
        match rest.find(separator) {
            Some(at) => key
                .get(..prefix.len() + at + separator.len())
                .unwrap_or(key),
            None => key,
        }
    };
    let mut folded: Vec<&str> = keys.map(fold).collect();
    folded.dedup();
    folded
}

/// A value as it is. A browser must not run it.
fn raw(value: &[u8]) -> Reply {
    Reply::bytes(value.to_vec().into())
        .header(header::CONTENT_TYPE, "text/plain")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(
            HeaderName::from_static("content-security-policy"),
            "sandbox",
        )
}
