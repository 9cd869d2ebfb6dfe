//! Answers as Consul words them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use super::query::{Consistency, Query};
use crate::catalog::CatalogError;
use crate::in_process::WriteError;

const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");

/// An answer before it becomes HTTP.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// An answer that ends the handling early.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Reply);

// === impl Reply ===

impl Reply {
    pub(super) fn empty() -> Self {
        Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: text.into().into(),
        }
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
    }

    /// Text without the charset, which some answers of Consul leave out.
    pub(super) fn plain(text: &str) -> Self {
        Self::bytes(text.to_owned().into()).header(header::CONTENT_TYPE, "text/plain")
    }

    pub(super) fn json(value: &impl Serialize) -> Self {
        // Only maps with keys that are no strings fail, and there are none.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: body.into(),
        }
        .header(header::CONTENT_TYPE, "application/json")
    }

    pub(super) fn bytes(body: Bytes) -> Self {
        Self {
            body,
            ..Self::empty()
        }
    }

    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Leaves out a value that no header can carry.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// What every question to the catalog answers with.
    pub(super) fn indexed(self, index: u64) -> Self {
        self.header(
            HeaderName::from_static("x-consul-index"),
            &index.to_string(),
        )
        .header(KNOWN_LEADER, "true")
        .header(HeaderName::from_static("x-consul-lastcontact"), "0")
    }

    /// Takes back that there is a leader: the answer may be behind what other replicas know.
    pub(super) fn without_leader(mut self) -> Self {
        let told = self
            .headers
            .iter_mut()
            .find(|(name, _)| *name == KNOWN_LEADER);
        if let Some((_, value)) = told {
            *value = HeaderValue::from_static("false");
        }
        self
    }

    pub(super) fn consistency(self, consistency: Consistency) -> Self {
        self.header(
            HeaderName::from_static("x-consul-effective-consistency"),
            consistency.as_str(),
        )
    }

    /// With `?cached` Consul says whether its cache had the answer; here the store is the cache.
    pub(super) fn cached(self, query: &Query) -> Self {
        match query.has("cached") {
            true => self
                .header(HeaderName::from_static("x-cache"), "HIT")
                .header(header::AGE, "0"),
            false => self,
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.extend(self.headers);
        response
    }
}

// === impl Failure ===

impl Failure {
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self(Reply::text(StatusCode::BAD_REQUEST, text))
    }

    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
    }

    /// Consul's words for "not now".
    pub(super) fn no_leader() -> Self {
        Self::internal("No cluster leader")
    }

    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self(Reply::text(StatusCode::NOT_FOUND, text))
    }

    pub(super) fn forbidden(text: impl Into<String>) -> Self {
        Self(Reply::text(StatusCode::FORBIDDEN, text))
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Full { .. } => Self(Reply::text(
                StatusCode::TOO_MANY_REQUESTS,
                error.to_string(),
            )),
            CatalogError::UnknownService(id) => {
                Self::internal(format!("ServiceID \"{id}\" does not exist"))
            }
            CatalogError::UnknownCheck(id) | CatalogError::NoTtl(id) => {
                Self::internal(format!("CheckID \"{id}\" does not have associated TTL"))
            }
            CatalogError::UnknownSession(id) => Self::internal(format!("invalid session \"{id}\"")),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error) => error.into(),
            #[cfg(feature = "etcd")]
            WriteError::NoLeader => Self::no_leader(),
        }
    }
}

pub(super) fn allow(methods: &[Method]) -> Reply {
    Reply::empty().header(header::ALLOW, &allowed(methods))
}

pub(super) fn wrong_method(method: &Method, methods: &[Method]) -> Failure {
    let text = format!("method {method} not allowed");
    let reply = Reply::text(StatusCode::METHOD_NOT_ALLOWED, text);
    Failure(reply.header(header::ALLOW, &allowed(methods)))
}

fn allowed(methods: &[Method]) -> String {
    methods.iter().fold("OPTIONS".to_owned(), |list, method| {
        format!("{list},{method}")
    })
}
