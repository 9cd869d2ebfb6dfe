//! A refusal that says what to do about it.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::gpu::NoTurn;
use crate::jobs::SubmitError;
use montecarlo::engine::EngineError;
use montecarlo::spec::{NON_FINITE_HINT, SpecError};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after: Option<Duration>,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    hint: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, hint: &str) -> Self {
        Self {
            status,
            retry_after: None,
            error: error.into(),
            field: None,
            hint: hint.to_owned(),
        }
    }

    pub(super) fn bad(field: &str, error: impl Into<String>, hint: &str) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::new(StatusCode::BAD_REQUEST, error, hint)
        }
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(Duration::from_secs(seconds));
        self
    }

    pub(super) fn busy(error: impl Into<String>) -> Self {
        let hint = "try again after the time in Retry-After";
        Self::new(StatusCode::TOO_MANY_REQUESTS, error, hint).retry_after(1)
    }

    fn elsewhere(error: impl Into<String>) -> Self {
        let hint = "submit it to another instance";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, hint).retry_after(1)
    }

    pub(super) fn unknown_job() -> Self {
        let hint = "submit it with PUT /simulations/{id}; ended jobs are forgotten after a while";
        Self::new(StatusCode::NOT_FOUND, "no such simulation", hint)
    }

    pub(super) fn bad_id() -> Self {
        Self::bad(
            "id",
            "a simulation id has 1 to 64 characters out of A-Z, a-z, 0-9, _ and -",
            "choose another id, for example a UUID",
        )
    }

    pub(super) fn bad_tenant() -> Self {
        Self::bad(
            "x-tenant",
            "a tenant has 1 to 64 characters out of A-Z, a-z, 0-9, _, - and .",
            "send another name, or leave the header out",
        )
    }

    pub(super) async fn no_such_path() -> Self {
        let hint = "use /simulations/{id}, /simulations/{id}/progress, /simulate, /ticks, /whoami, \
                    /gpu, /gpu/turns or /metrics";
        Self::new(StatusCode::NOT_FOUND, "no such path", hint)
    }

    pub(super) async fn no_such_method() -> Self {
        let hint = "PUT submits, GET reads, DELETE stops /simulations/{id}; POST /simulate; all else is GET";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "no such method here", hint)
    }
}

impl From<SpecError> for Problem {
    fn from(error: SpecError) -> Self {
        Self {
            field: Some(error.field),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.message, &error.hint)
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Spec(error) => error.into(),
            SubmitError::Conflict => Self {
                field: Some("id".into()),
                ..Self::new(StatusCode::CONFLICT, error.to_string(), "choose another id")
            },
            SubmitError::Full { .. } => Self::busy(error.to_string()),
            SubmitError::Draining | SubmitError::Unfit => Self::elsewhere(error.to_string()),
        }
    }
}

impl From<NoTurn> for Problem {
    fn from(error: NoTurn) -> Self {
        match error {
            NoTurn::Lost => Self::elsewhere(error.to_string()),
            NoTurn::Refused(_) => Self::busy(error.to_string()),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let (status, hint) = match error {
            EngineError::NonFinite { .. } => (StatusCode::UNPROCESSABLE_ENTITY, NON_FINITE_HINT),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "submit it again"),
        };
        Self::new(status, error.to_string(), hint)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let retry_after = self.retry_after;
        let mut response = (self.status, Json(self)).into_response();
        if let Some(time) = retry_after {
            let value = HeaderValue::from(time.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        if response.status() == StatusCode::UPGRADE_REQUIRED {
            // To what (RFC 9110, 15.5.22; RFC 6455, 4.4).
            for (name, value) in [
                (header::CONNECTION, "upgrade"),
                (header::UPGRADE, "websocket"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
            ] {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
