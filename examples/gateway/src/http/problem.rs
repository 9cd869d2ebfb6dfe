//! A refusal that says what to do about it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::ledger::{JobIdError, LedgerError};

/// The body of every answer that is not a success: `{error, field, hint}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    hint: String,
}

impl Problem {
    /// What is wrong, and what to do about it.
    pub fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            field: None,
            hint: hint.into(),
        }
    }

    /// Where it is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// 404 for a path below ours.
    pub async fn no_such_path() -> Self {
        let hint = "use /simulations/{id}, /simulations/{id}/result or /simulations/{id}/progress";
        Self::new(StatusCode::NOT_FOUND, "no such path", hint)
    }

    /// 404 below `/enterprise/scaling`.
    pub async fn no_such_scaling_path() -> Self {
        let hint = "GET load-balancer/status, instances, cache/stats, performance/summary, health, \
                    auto-scaling, registry, gpus; \
                    POST load-balancer/configure, auto-scaling/configure, cache/clear";
        Self::new(StatusCode::NOT_FOUND, "no such path or method", hint)
    }

    /// 405 for a path of ours.
    pub async fn no_such_method() -> Self {
        let hint =
            "PUT submits, GET reads, DELETE cancels /simulations/{id}; everything else is GET";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "no such method here", hint)
    }
}

impl From<JobIdError> for Problem {
    fn from(error: JobIdError) -> Self {
        let hint = "choose another id, for example a UUID";
        Self::new(StatusCode::BAD_REQUEST, error.to_string(), hint).field("id")
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let (status, hint) = match error {
            LedgerError::Unknown => (
                StatusCode::NOT_FOUND,
                "submit it with PUT /simulations/{id}",
            ),
            LedgerError::Conflict => (
                StatusCode::CONFLICT,
                "choose another id, or send the first specification again",
            ),
            LedgerError::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, "try again in a second"),
            LedgerError::Ahead { .. } => (
                StatusCode::BAD_REQUEST,
                "resume with the last number you received, or with 0",
            ),
        };
        Self::new(status, error.to_string(), hint)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self)).into_response();
        // What a client has to know besides (RFC 9110, 15.5.22; RFC 6455, 4.4).
        let more: &[(HeaderName, &'static str)] = match status {
            StatusCode::SERVICE_UNAVAILABLE => &[(header::RETRY_AFTER, "1")],
            StatusCode::UPGRADE_REQUIRED => &[
                (header::CONNECTION, "upgrade"),
                (header::UPGRADE, "websocket"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
            ],
            _ => &[],
        };
        for (name, value) in more {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}
