//! A client of the gateway as anybody could write one: HTTP, WebSocket and one cookie.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::Client;

/// Time for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time between two messages of a stream.
const SILENCE: Duration = Duration::from_secs(30);

/// What `GET /whoami` answers.
#[derive(Debug, Deserialize)]
pub(super) struct WhoAmI {
    pub(super) instance: String,
    pub(super) pid: u32,
}

/// One browser, so to say.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    client: Client,
    /// `127.0.0.1:8080`
    authority: String,
    cookie: Option<HeaderValue>,
}

impl Visitor {
    pub(super) fn new(authority: &str) -> Self {
        Self {
            client: Client::default(),
            authority: authority.to_owned(),
            cookie: None,
        }
    }

    /// The same browser without its cookie.
    pub(super) fn stranger(&self) -> Self {
        Self {
            cookie: None,
            ..self.clone()
        }
    }

    /// Sends a request and keeps the cookie of the answer.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<Response<Bytes>> {
        let uri = format!("http://{}{path}", self.authority);
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = self
            .client
            .fetch(request.body(Full::new(body.into()))?, DEADLINE)
            .await?;
        if let Some(cookie) = answer.headers().get(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            self.cookie = Some(HeaderValue::from_str(pair)?);
        }
        Ok(answer)
    }

    /// A `GET` that must succeed, as JSON.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        let answer = self.send(Method::GET, path, String::new()).await?;
        anyhow::ensure!(
            answer.status().is_success(),
            "GET {path} answered {}",
            answer.status()
        );
        Ok(serde_json::from_slice(answer.body())?)
    }

    /// Opens a WebSocket.
    pub(super) async fn open(&self, path: &str) -> anyhow::Result<Stream> {
        let mut request = format!("ws://{}{path}", self.authority).into_client_request()?;
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert(header::COOKIE, cookie.clone());
        }
        let connect = tokio::time::timeout(DEADLINE, connect_async(request));
        let (socket, _) = connect.await.context("no handshake in time")??;
        Ok(Stream(socket))
    }
}

/// JSON messages of one WebSocket.
#[derive(Debug)]
pub(super) struct Stream(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Stream {
    /// The next message; nothing after a normal close.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        loop {
            let frame = tokio::time::timeout(SILENCE, self.0.next())
                .await
                .context("silence")?;
            match frame.context("the stream broke off")?? {
                Frame::Text(text) => return Ok(Some(serde_json::from_str(&text)?)),
                Frame::Close(Some(frame)) if u16::from(frame.code) == 1000 => return Ok(None),
                Frame::Close(frame) => anyhow::bail!("closed with {frame:?}"),
                _ => {}
            }
        }
    }
}
