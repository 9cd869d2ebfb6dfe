//! The HTTP client: one request, one bounded answer, in bounded time.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::http_client::{MOST_BYTES, Origin};
use crate::{InvalidUrl, RegistryError};

/// How long anything but a blocking query may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const QUOTED: usize = 200;
const SAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

#[derive(Clone)]
pub(super) struct Client {
    pub(super) origin: Origin,
    pub(super) token: Option<String>,
}

/// An answer of whatever status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Percent-encodes one part of a path or query.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, SAFE).to_string()
}

// === impl Client ===

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self {
            origin: Origin::new(url)?,
            token: None,
        })
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
        patience: Duration,
    ) -> Result<Answer, RegistryError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin.base));
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let body = match body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Full::new(Bytes::from(json.to_string()))
            }
            None => Full::default(),
        };
        let request = request
            .body(body)
            .map_err(|error| RegistryError::Protocol(error.to_string()))?;
        match tokio::time::timeout(patience, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(late) => Err(RegistryError::Unreachable(late.into())),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, RegistryError> {
        let unreachable =
            |error: Box<dyn std::error::Error + Send + Sync>| RegistryError::Unreachable(error);
        let response = self
            .origin
            .connections
            .request(request)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MOST_BYTES)
            .collect()
            .await
            .map_err(unreachable)?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }
}

// === impl Answer ===

impl Answer {
    /// The beginning of the body, for messages.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.trim().chars().take(QUOTED).collect()
    }

    /// An error unless it is 2xx.
    pub(super) fn success(self) -> Result<(), RegistryError> {
        self.into_success().map(drop)
    }

    pub(super) fn into_success(self) -> Result<Self, RegistryError> {
        match self.status {
            status if status.is_success() => Ok(self),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(RegistryError::Denied {
                reason: self.text(),
            }),
            status => Err(RegistryError::Refused {
                status: status.as_u16(),
                reason: self.text(),
            }),
        }
    }
}
