//! One job at one instance, over HTTP and WebSocket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::value::RawValue;
use simulation::jobs::Tenant;
use simulation::service::TENANT;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::client::{Client, FetchError};
use crate::ledger::{JobSpec, Status, Update};

/// An instance that does not answer within this time is not there.
const DEADLINE: Duration = Duration::from_secs(3);
/// Largest progress message of an instance.
const MESSAGE_BYTES: usize = 1 << 20;

/// A job as one instance knows it.
#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    /// `127.0.0.1:8001/simulations/g-17`
    path: String,
}

/// Why an instance has not got the job.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No instance would take this job.
    Job(Arc<str>),
    /// Another instance might.
    Instance(String),
    /// It was asked and did not answer. If it has the job it is to be told that it is not wanted.
    Silent(Box<Remote>, String),
}

/// What an instance says about its job; also one message of its progress.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    #[serde(default)]
    pub(super) seq: u64,
    pub(super) status: Status,
    #[serde(flatten)]
    pub(super) update: Update,
    #[serde(default)]
    pub(super) error: Option<Arc<str>>,
}

/// The result beside it; a raw value cannot stand in a flattened struct.
#[derive(Debug, Deserialize)]
pub(super) struct WithResult {
    #[serde(default)]
    pub(super) result: Option<Box<RawValue>>,
}

pub(super) type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

impl Remote {
    /// Gives the job to the instance at `uri`, under a name of our own: the client's name may
    /// have meant another job there before.
    pub(super) async fn submit(
        client: Client,
        uri: &str,
        spec: &JobSpec,
        tenant: &Tenant,
    ) -> Result<Self, Refusal> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let authority = uri.trim_start_matches("http://").trim_end_matches('/');
        let path = format!("{authority}/simulations/g{}-{number}", std::process::id());
        let remote = Self { client, path };
        let body = Bytes::copy_from_slice(spec.as_str().as_bytes());
        let (status, body) = match remote.send_for(Some(tenant), Method::PUT, body).await {
            Ok(answer) => answer,
            Err(error) if error.is_undelivered() => {
                return Err(Refusal::Instance(error.to_string()));
            }
            Err(error) => return Err(Refusal::Silent(Box::new(remote), error.to_string())),
        };
        match status {
            StatusCode::ACCEPTED | StatusCode::OK => Ok(remote),
            StatusCode::TOO_MANY_REQUESTS => Err(Refusal::Instance(status.to_string())),
            status if status.is_client_error() => {
                Err(Refusal::Job(String::from_utf8_lossy(&body).as_ref().into()))
            }
            status => Err(Refusal::Instance(status.to_string())),
        }
    }

    /// What the instance says now; `None` if it does not know the job or is not there.
    pub(super) async fn ask(&self) -> Option<Bytes> {
        let (status, body) = self.send(Method::GET, Bytes::new()).await.ok()?;
        (status == StatusCode::OK).then_some(body)
    }

    /// Ends the job there; an instance that is gone has ended it already.
    pub(super) async fn cancel(&self) {
        if let Err(error) = self.send(Method::DELETE, Bytes::new()).await {
            tracing::debug!(path = %self.path, %error, "could not cancel");
        }
    }

    /// Its progress after message `after`.
    pub(super) async fn progress(&self, after: u64) -> Result<Socket, String> {
        let uri = format!("ws://{}/progress?after={after}", self.path);
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(MESSAGE_BYTES);
        config.max_frame_size = Some(MESSAGE_BYTES);
        let connect = connect_async_with_config(uri, Some(config), true);
        match tokio::time::timeout(DEADLINE, connect).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no handshake within {DEADLINE:?}")),
        }
    }

    async fn send(&self, method: Method, body: Bytes) -> Result<(StatusCode, Bytes), FetchError> {
        self.send_for(None, method, body).await
    }

    async fn send_for(
        &self,
        tenant: Option<&Tenant>,
        method: Method,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}", self.path))
            .header("content-type", "application/json");
        if let Some(tenant) = tenant {
            request = request.header(TENANT, tenant.as_str());
        }
        let request = request
            .body(Full::new(body))
            .expect("invariant: an address from the registry and a name of ours make a valid URI");
        let response = self.client.fetch(request, DEADLINE).await?;
        Ok((response.status(), response.into_body()))
    }
}

/// The next text message; `None` at the end, however it came.
pub(super) async fn next_text(socket: &mut Socket) -> Result<Option<String>, WsError> {
    while let Some(message) = socket.next().await {
        match message? {
            WsMessage::Text(text) => return Ok(Some(text.to_string())),
            WsMessage::Close(_) => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}
