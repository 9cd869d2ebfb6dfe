//! Why a balanced request was not answered by an endpoint.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::affinity::NoLease;
use crate::error::PickError;

/// Why [`Balance`](super::Balance) answered by itself. The answer carries it as
/// an extension; its body names the reason and nothing else.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BalanceError {
    /// No endpoint can take the request: 503.
    NoEndpoint,
    /// The endpoint this session is bound to is gone, and it may go nowhere else: 503.
    SessionEndpointDown,
    /// Every endpoint that was tried was busy for too long: 503.
    NotReady,
    /// The upstream or its endpoints take no more requests now: 503.
    Overloaded,
    /// The endpoint's service failed: 502. Its error is the source.
    Endpoint(Arc<dyn Error + Send + Sync>),
}

impl fmt::Display for BalanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEndpoint => "no endpoint is available",
            Self::SessionEndpointDown => "the endpoint of this session is not available",
            Self::NotReady => "no endpoint became ready in time",
            Self::Overloaded => "the endpoints take no more requests now",
            Self::Endpoint(_) => "the endpoint failed",
        })
    }
}

/// By hand: a derived source is the `Arc`, behind which no error can be told by its type.
impl Error for BalanceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Endpoint(cause) => Some(&**cause),
            _ => None,
        }
    }
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
            Self::Overloaded => "overloaded",
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
            NoLease::Nobody(PickError::Full) => Self::Overloaded,
            NoLease::Nobody(_) => Self::NoEndpoint,
            #[cfg(feature = "proxy")]
            NoLease::Panicked => Self::NoEndpoint,
            NoLease::Down | NoLease::Wait(_) => Self::SessionEndpointDown,
        }
    }
}
