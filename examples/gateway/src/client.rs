//! A small HTTP client for loopback: bounded answers, a deadline on everything.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Largest answer that is read.
const ANSWER_BYTES: usize = 1 << 20;

/// Sends one request at a time per clone and keeps connections alive.
#[derive(Clone, Debug)]
pub struct Client(Pooled<HttpConnector, Full<Bytes>>);

/// Why there is no answer. An answer with an error status is an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody is there, or the connection broke.
    #[error("no connection")]
    Connection(#[source] hyper_util::client::legacy::Error),
    /// The answer broke off or is too long.
    #[error("no complete answer: {0}")]
    Body(String),
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
}

impl FetchError {
    /// `true` if nobody can have heard the request; otherwise what it asked for may have happened.
    #[must_use]
    pub fn is_undelivered(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_connect())
    }
}

impl Default for Client {
    fn default() -> Self {
        let mut builder = Pooled::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(5));
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        Self(builder.build(connector))
    }
}

impl Client {
    /// One request, its whole answer.
    ///
    /// # Errors
    ///
    /// [`FetchError`] if there is no complete answer within `deadline`.
    pub async fn fetch(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<Response<Bytes>, FetchError> {
        let exchange = async {
            let response = self
                .0
                .request(request)
                .await
                .map_err(FetchError::Connection)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| FetchError::Body(error.to_string()))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(deadline, exchange)
            .await
            .map_err(|_| FetchError::Deadline(deadline))?
    }
}
