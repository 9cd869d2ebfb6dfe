//! Why a balanced request was not answered by an endpoint.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::affinity::NoLease;

/// Why [`Balance`](super::Balance) answered by itself. The answer carries it as
/// an extension; its body names the reason and nothing else.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BalanceError {
    /// No endpoint can take the request: 503.
    #[error("no endpoint is available")]
    NoEndpoint,
    /// The endpoint this session is bound to is gone, and it may go nowhere else: 503.
    #[error("the endpoint of this session is not available")]
    SessionEndpointDown,
    /// Every endpoint that was tried was busy for too long: 503.
    #[error("no endpoint became ready in time")]
    NotReady,
    /// The endpoint's service failed: 502. Its error is the source.
    #[error("the endpoint failed")]
    Endpoint(#[source] Arc<dyn Error + Send + Sync>),
}

impl BalanceError {
    /// The status the client receives.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Endpoint(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable word for programs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "no_endpoint",
            Self::SessionEndpointDown => "session_endpoint_down",
            Self::NotReady => "not_ready",
            Self::Endpoint(_) => "endpoint_failed",
        }
    }

    pub(super) fn response(self) -> Response<Bytes> {
        let text = format!(r#"{{"error":"{}","message":"{self}"}}"#, self.code());
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<NoLease> for BalanceError {
    fn from(reason: NoLease) -> Self {
        match reason {
            NoLease::Nobody(_) => Self::NoEndpoint,
            NoLease::Down | NoLease::Wait(_) => Self::SessionEndpointDown,
        }
    }
}
