//! Questions to etcd over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::key::end_of;
use super::wire::{Grant, KeepAlive, Range, Streamed, Txn, bytes};
use crate::InvalidUrl;
use crate::http_client::{MOST_BYTES, Origin};

const PATIENCE: Duration = Duration::from_secs(2);
const QUOTED: usize = 200;
const PAGE: u32 = 500;

/// Why a question led to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("etcd does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("etcd refuses ({status}): {reason}")]
    Refused { status: StatusCode, reason: String },
    #[error("etcd's answer cannot be understood")]
    Nonsense(#[from] serde_json::Error),
    #[error("a message is too long")]
    TooLong,
    #[error("etcd has ended the watch")]
    Ended,
}

/// An etcd behind one or more URLs. Clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Client {
    origins: Arc<[Origin]>,
    current: Arc<AtomicUsize>,
}

impl Client {
    pub(super) fn new<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, InvalidUrl> {
        let origins: Result<Arc<[Origin]>, _> = urls
            .into_iter()
            .map(|url| Origin::new(url.as_ref()))
            .collect();
        let origins = origins?;
        if origins.is_empty() {
            return Err(InvalidUrl(String::new()));
        }
        let first = fastrand::usize(..origins.len());
        Ok(Self {
            origins,
            current: Arc::new(AtomicUsize::new(first)),
        })
    }

    #[cfg(feature = "tls")]
    pub(super) fn trusting(
        self,
        file: &std::path::Path,
    ) -> Result<Self, crate::InvalidCertificates> {
        let origins = self.origins.iter().cloned();
        let origins: Result<Arc<[Origin]>, _> = origins.map(|one| one.trusting(file)).collect();
        Ok(Self {
            origins: origins?,
            ..self
        })
    }

    /// Everything under the prefix, and the revision that it is of.
    pub(super) async fn list(&self, prefix: &str) -> Result<Range, Trouble> {
        let mut all = Range::default();
        let mut from = prefix.as_bytes().to_vec();
        loop {
            let body = json!({
                "key": bytes(&from),
                "range_end": bytes(end_of(prefix)),
                "limit": PAGE.to_string(),
                "revision": all.header.revision.to_string(),
            });
            let page: Range = self.ask("/v3/kv/range", &body).await?;
            if all.header.revision == 0 {
                // The header tells the newest revision, which is that of the first page only.
                all.header = page.header;
            }
            let last = page.kvs.last().map(|kv| kv.key.clone());
            all.kvs.extend(page.kvs);
            match last {
                Some(last) if page.more => {
                    from = last;
                    from.push(0);
                }
                _ => return Ok(all),
            }
        }
    }

    /// Asks a majority whether there still is one.
    pub(super) async fn ping(&self, prefix: &str) -> Result<(), Trouble> {
        let body = json!({"key": bytes(prefix), "count_only": true});
        self.ask("/v3/kv/range", &body).await.map(|_: Range| ())
    }

    pub(super) async fn txn(&self, body: &Value) -> Result<Txn, Trouble> {
        self.ask("/v3/kv/txn", body).await
    }

    /// A new lease that ends after `ttl` without renewal.
    pub(super) async fn grant(&self, ttl: Duration) -> Result<u64, Trouble> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let body = json!({"TTL": seconds.to_string()});
        let grant: Grant = self.ask("/v3/lease/grant", &body).await?;
        Ok(grant.id)
    }

    /// `false` if there is no such lease.
    pub(super) async fn renew(&self, lease: u64) -> Result<bool, Trouble> {
        let body = json!({"ID": lease.to_string()});
        let answer: Streamed<KeepAlive> = self.ask("/v3/lease/keepalive", &body).await?;
        Ok(answer.result.is_some_and(|one| one.ttl > 0))
    }

    /// The stream of all changes under the prefix from this revision on.
    pub(super) async fn watch(&self, prefix: &str, from: u64) -> Result<Incoming, Trouble> {
        let body = json!({"create_request": {
            "key": bytes(prefix),
            "range_end": bytes(end_of(prefix)),
            "start_revision": from.to_string(),
        }});
        Ok(self.send("/v3/watch", &body).await?.into_body())
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Trouble> {
        let response = self.send(path, body).await?;
        let body = Limited::new(response.into_body(), MOST_BYTES).collect();
        let body = within(async { body.await.map_err(Trouble::Unreachable) }).await?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }

    /// Asks the current member; if it fails, the next question goes to the next one.
    async fn send(&self, path: &str, body: &Value) -> Result<Response<Incoming>, Trouble> {
        // Relaxed: which member is asked orders no other memory.
        let current = self.current.load(Ordering::Relaxed);
        let Some(origin) = self.origins.get(current % self.origins.len()) else {
            return Err(Trouble::Ended);
        };
        let sent = within(exchange(origin, path, body)).await;
        if matches!(&sent, Err(Trouble::Unreachable(_)))
            || matches!(&sent, Err(Trouble::Refused { status, .. }) if status.is_server_error())
        {
            self.skip(current);
        }
        sent
    }

    /// Asks somebody else from now on.
    pub(super) fn give_up_on_current(&self) {
        // Relaxed: as in `send`.
        self.skip(self.current.load(Ordering::Relaxed));
    }

    fn skip(&self, failed: usize) {
        // Relaxed: as in `send`. Of several that failed at the same time one moves on.
        let _ = self.current.compare_exchange(
            failed,
            failed.wrapping_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

async fn exchange(
    origin: &Origin,
    path: &str,
    body: &Value,
) -> Result<Response<Incoming>, Trouble> {
    let request = Request::post(format!("{}{path}", origin.base))
        .header(header::CONTENT_TYPE, "application/json")
        // A member that has lost its leader is to say so instead of going silent.
        .header("grpc-metadata-hasleader", "true")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| Trouble::Unreachable(error.into()))?;
    let response = origin.connections.request(request).await;
    let response = response.map_err(|error| Trouble::Unreachable(error.into()))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = Limited::new(response.into_body(), MOST_BYTES)
        .collect()
        .await;
    let text = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let reason = String::from_utf8_lossy(&text)
        .chars()
        .take(QUOTED)
        .collect();
    Err(Trouble::Refused { status, reason })
}

async fn within<T>(asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(late) => Err(Trouble::Unreachable(late.into())),
    }
}
