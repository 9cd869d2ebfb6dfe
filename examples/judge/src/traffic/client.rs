//! One request, one connection, one deadline: nothing is repeated behind the
//! judge's back, and nothing is waited for without end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

const MAX_BODY: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct Client {
    target: Arc<str>,
    /// A request not answered within this time is lost.
    deadline: Duration,
}

/// An answer of success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(target: &str, deadline: Duration) -> Self {
        Self {
            target: target.into(),
            deadline,
        }
    }

    /// Any answer but success, and no answer, is an error in words.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<Answer, String> {
        timeout(self.deadline, self.exchange(method, path, body))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", self.deadline)))
    }

    async fn exchange(&self, method: Method, path: &str, body: &str) -> Result<Answer, String> {
        let stream = TcpStream::connect(&*self.target)
            .await
            .map_err(|e| e.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        let connection = AbortOnDrop(tokio::spawn(connection));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &*self.target)
            .header("connection", "close")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|e| e.to_string())?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body
            .map_err(|e| format!("{status}, and the body broke off: {e}"))?
            .to_bytes();
        drop(connection);
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            return Err(format!("{status} {text}"));
        }
        let body = serde_json::from_slice(&body).map_err(|_| format!("{status}, not JSON"))?;
        Ok(Answer { status, body })
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
