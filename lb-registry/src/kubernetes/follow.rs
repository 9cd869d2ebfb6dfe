//! The task that lists and watches one Service.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::Kubernetes;
use super::slices::{Metadata, Slice, Slices};
use crate::backoff::Backoff;
use crate::fail_static::Answer;
use crate::feed::{Feed, sleep_until};
use crate::http_client::MOST_BYTES;
use crate::lines::Lines;
use crate::watch::AbortOnDrop;
use crate::{Watch, clock};

const PATIENCE: Duration = Duration::from_secs(10);
const PAGE: u32 = 500;
/// A watch is asked to end after 240 to 300 seconds, so that a fleet does not ask anew as one.
const WATCH_SECONDS: std::ops::Range<u64> = 240..300;
/// Lists, and watches, begin no faster than this, however soon they end: some servers, and what stands before them, end
/// every watch at once.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a server may ask for.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why a request led to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("no answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("access denied ({0})")]
    Denied(StatusCode),
    #[error("the version is too old")]
    Gone,
    #[error("status {status}")]
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("the answer cannot be understood")]
    Nonsense(#[source] serde_json::Error),
    #[error("a line is too long")]
    TooLong,
}

#[derive(Deserialize)]
struct Page {
    metadata: ListMetadata,
    #[serde(default)]
    items: Option<Vec<Slice>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ListMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Event {
    Added(Slice),
    Modified(Slice),
    Deleted(Slice),
    Bookmark(Mark),
    Error(Status),
}

#[derive(Deserialize)]
struct Mark {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

pub(super) fn start(api: Kubernetes, service: &str) -> Watch {
    let (feed, latest) = Feed::new(service, api.fail_static, api.snapshots.as_ref());
    let follower = Follower {
        api,
        service: service.to_owned(),
        feed,
        slices: Slices::default(),
    };
    let task = tokio::spawn(follower.run());
    Watch::new(latest, Some(AbortOnDrop(task.abort_handle())))
}

struct Follower {
    api: Kubernetes,
    service: String,
    feed: Feed,
    slices: Slices,
}

impl Follower {
    /// Lists, then watches for as long as that goes well, and begins anew.
    async fn run(mut self) {
        self.feed.load().await;
        let mut failures = 0;
        loop {
            let begun = clock::now();
            let trouble = match self.list().await {
                Ok(version) => {
                    failures = 0;
                    self.follow(version).await
                }
                Err(trouble) => trouble,
            };
            // Too old a version is the normal end of a watch that missed something.
            if matches!(trouble, Trouble::Gone) && failures == 0 {
                failures = 1;
                sleep_until(Some(begun + LEAST_PAUSE)).await;
                continue;
            }
            self.weather(&trouble).await;
            self.pause(&trouble, failures).await;
            failures += 1;
        }
    }

    /// Reads all pages. The slices are replaced once the last one is there.
    async fn list(&mut self) -> Result<String, Trouble> {
        let (mut slices, mut next) = (Slices::default(), String::new());
        let version = loop {
            let query = match next.is_empty() {
                true => format!("limit={PAGE}"),
                false => format!("limit={PAGE}&continue={}", encode(&next)),
            };
            let response = within(PATIENCE, self.get(&query)).await?;
            let body = Limited::new(response.into_body(), MOST_BYTES).collect();
            let body = within(PATIENCE, async { body.await.map_err(Trouble::Unreachable) }).await?;
            let page: Page = serde_json::from_slice(&body.to_bytes()).map_err(Trouble::Nonsense)?;
            for slice in page.items.into_iter().flatten() {
                slices.put(slice);
            }
            next = page.metadata.next;
            if next.is_empty() {
                break page.metadata.resource_version;
            }
        };
        self.slices = slices;
        self.publish().await;
        Ok(version)
    }

    /// Watches from this version on, again and again, until something is wrong.
    async fn follow(&mut self, mut version: String) -> Trouble {
        loop {
            let begun = clock::now();
            if let Err(trouble) = self.watch(&mut version).await {
                return trouble;
            }
            sleep_until(Some(begun + LEAST_PAUSE)).await;
        }
    }

    /// One watch, to its orderly end.
    async fn watch(&mut self, version: &mut String) -> Result<(), Trouble> {
        let seconds = fastrand::u64(WATCH_SECONDS);
        let query = format!(
            "watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            encode(version)
        );
        let mut body = within(PATIENCE, self.get(&query)).await?.into_body();
        let patience = Duration::from_secs(seconds) + PATIENCE;
        let mut lines = Lines::default();
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(patience, body.frame()) => frame,
                () = sleep_until(self.feed.deadline()) => {
                    // A watch says nothing while nothing changes: that is a confirmation too.
                    match self.feed.wants_confirmation() {
                        true => self.publish().await,
                        false => self.feed.tick().await,
                    }
                    continue;
                }
            };
            let frame = match frame {
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => frame.map_err(|error| Trouble::Unreachable(error.into()))?,
                Err(late) => return Err(Trouble::Unreachable(late.into())),
            };
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            let piece = data.copy_to_bytes(data.remaining());
            let lines = lines
                .push(&piece, MOST_BYTES)
                .map_err(|_| Trouble::TooLong)?;
            for line in lines {
                let event = serde_json::from_slice(&line).map_err(Trouble::Nonsense)?;
                self.take(event, version).await?;
            }
        }
    }

    async fn take(&mut self, event: Event, version: &mut String) -> Result<(), Trouble> {
        match event {
            Event::Error(Status { code: 410 }) => return Err(Trouble::Gone),
            Event::Error(Status { code }) => {
                let status =
                    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(Trouble::Status {
                    status,
                    retry_after: None,
                });
            }
            Event::Bookmark(mark) => {
                *version = mark.metadata.resource_version;
                return Ok(());
            }
            Event::Added(slice) | Event::Modified(slice) => {
                version.clone_from(&slice.metadata.resource_version);
                self.slices.put(slice);
            }
            Event::Deleted(slice) => {
                version.clone_from(&slice.metadata.resource_version);
                self.slices.remove(&slice.metadata.name);
            }
        }
        self.publish().await;
        Ok(())
    }

    async fn publish(&mut self) {
        let instances = self
            .slices
            .instances(&self.service, self.api.port_name.as_deref());
        self.feed.answer(Answer::Instances(instances)).await;
    }

    async fn weather(&mut self, trouble: &Trouble) {
        tracing::warn!(
            service = self.service,
            error = trouble as &dyn std::error::Error,
            "no list"
        );
        let answer = match trouble {
            Trouble::Denied(_) => Answer::Denied,
            _ => Answer::Failed,
        };
        self.feed.answer(answer).await;
    }

    async fn pause(&mut self, trouble: &Trouble, failures: u32) {
        let backoff = Backoff::default().delay(failures + 1, fastrand::u64(..));
        let pause = match trouble {
            Trouble::Status {
                retry_after: Some(asked),
                ..
            } => (*asked).min(MOST_RETRY_AFTER).max(backoff),
            _ => backoff,
        };
        self.feed.rest(pause).await;
    }

    async fn get(&self, query: &str) -> Result<Response<Incoming>, Trouble> {
        let api = &self.api;
        let selector = encode(&format!("kubernetes.io/service-name={}", self.service));
        let uri = format!(
            "{}/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector={selector}&{query}",
            api.origin.base,
            encode(&api.namespace)
        );
        let mut request = Request::get(uri).header(header::ACCEPT, "application/json");
        if let Some(file) = &api.token_file {
            let token = tokio::fs::read_to_string(file).await;
            let token = token.map_err(|error| Trouble::Unreachable(error.into()))?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let unreachable =
            |error: Box<dyn std::error::Error + Send + Sync>| Trouble::Unreachable(error);
        let request = request
            .body(Full::<Bytes>::default())
            .map_err(|error| unreachable(error.into()))?;
        let response = api
            .origin
            .connections
            .request(request)
            .await
            .map_err(|error| unreachable(error.into()))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::GONE => Err(Trouble::Gone),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Trouble::Denied(status))
            }
            status => {
                let seconds = response.headers().get(header::RETRY_AFTER);
                let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
                Err(Trouble::Status {
                    status,
                    retry_after: seconds.map(Duration::from_secs),
                })
            }
        }
    }
}

async fn within<T>(
    patience: Duration,
    asked: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(patience, asked).await {
        Ok(answer) => answer,
        Err(late) => Err(Trouble::Unreachable(late.into())),
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
