//! One small HTTP/1.1 client for the sources and actuators that need one.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// No answer that we read is longer.
const LONGEST_ANSWER: usize = 16 << 20;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
    #[error("no connection: {0}")]
    Connect(#[from] hyper_util::client::legacy::Error),
    #[error("the answer broke off or is too long: {0}")]
    Body(String),
}

/// Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    token: Option<String>,
    deadline: Duration,
}

impl Fetch {
    pub(crate) fn new(base: &Uri) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            base: base.to_string().trim_end_matches('/').to_owned(),
            token: None,
            deadline: Duration::from_secs(5),
        }
    }

    #[cfg(feature = "kubernetes")]
    pub(crate) fn token(&mut self, token: String) {
        self.token = Some(token);
    }

    /// Sends a request, with a body of the given media type if there is one.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, String)>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let (media, body) = body.map_or((None, String::new()), |(media, body)| (Some(media), body));
        if let Some(media) = media {
            request = request.header(header::CONTENT_TYPE, media);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let exchange = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await;
            let body = body
                .map_err(|error| FetchError::Body(error.to_string()))?
                .to_bytes();
            Ok((head.status, body))
        };
        tokio::time::timeout(self.deadline, exchange)
            .await
            .unwrap_or(Err(FetchError::Late(self.deadline)))
    }
}
