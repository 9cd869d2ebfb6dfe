//! A double of the Kubernetes API server, for EndpointSlices alone: lists in pages, watches with bookmarks, versions that
//! grow too old, tokens; and, on demand, everything that goes wrong with a real one.
//!
//! Real clients are its judges (see `judges.rs`): what kubectl and the Python client do not understand is not like the
//! real thing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Silence in a watch after which a bookmark is sent.
const BOOKMARK_AFTER: Duration = Duration::from_millis(200);
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices";

/// What goes wrong with the next request, or with the watches that are open.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The next request is refused like this.
    Refuse(StatusCode),
    /// Everything so far is too old to be watched from.
    Compact,
    /// Open watches end in order.
    End,
    /// Open watches are cut in the middle of a line.
    Cut,
    /// Open watches are told that their version is too old.
    Expire,
    /// The last change is sent once more to open watches.
    Repeat,
}

/// The double. Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Api {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Store {
    version: u64,
    slices: BTreeMap<String, Value>,
    log: Vec<(u64, &'static str, Value)>,
    compacted: u64,
    tokens: BTreeSet<String>,
    refusals: VecDeque<StatusCode>,
    /// What happens to open watches, numbered.
    troubles: Vec<Fault>,
    page: Option<usize>,
    /// What was there when a list was begun.
    moments: BTreeMap<u64, BTreeMap<String, Value>>,
    asked: Vec<String>,
}

impl Api {
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route(
                "/version",
                get(async || {
                    axum_json(&json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"}))
                }),
            )
            .route(
                "/api",
                get(async || axum_json(&json!({"kind": "APIVersions", "versions": ["v1"]}))),
            )
            .route(
                "/api/v1",
                get(async || axum_json(&resources("v1", &json!([])))),
            )
            .route("/apis", get(async || axum_json(&groups())))
            .route(
                "/apis/discovery.k8s.io/v1",
                get(async || axum_json(&resources("discovery.k8s.io/v1", &kinds()))),
            )
            .route(SLICES, get(slices))
            .with_state(self.clone())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a slice or replaces it.
    pub(crate) fn put(&self, name: &str, service: &str, mut slice: Value) {
        let mut store = self.store();
        store.version += 1;
        let kind = if store.slices.contains_key(name) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        slice["kind"] = "EndpointSlice".into();
        slice["apiVersion"] = "discovery.k8s.io/v1".into();
        slice["metadata"] = json!({
            "name": name,
            "namespace": "default",
            "uid": format!("uid-{name}"),
            "resourceVersion": store.version.to_string(),
            "labels": {"kubernetes.io/service-name": service},
        });
        store.slices.insert(name.into(), slice.clone());
        let version = store.version;
        store.log.push((version, kind, slice));
        self.shared.changed.send_replace(version);
    }

    /// Removes a slice, if it is there.
    pub(crate) fn remove(&self, name: &str) {
        let mut store = self.store();
        if let Some(mut slice) = store.slices.remove(name) {
            store.version += 1;
            let version = store.version;
            slice["metadata"]["resourceVersion"] = version.to_string().into();
            store.log.push((version, "DELETED", slice));
            self.shared.changed.send_replace(version);
        }
    }

    /// Accepts this token and no other.
    pub(crate) fn only_token(&self, token: &str) {
        self.store().tokens = [token.to_owned()].into();
    }

    /// Lists come in pages of this many slices at most.
    pub(crate) fn pages_of(&self, slices: usize) {
        self.store().page = Some(slices);
    }

    pub(crate) fn fault(&self, fault: Fault) {
        let mut store = self.store();
        match fault {
            Fault::Refuse(status) => store.refusals.push_back(status),
            // Watches that are open go on; new ones may not begin before this.
            Fault::Compact => store.compacted = store.version,
            trouble => {
                store.troubles.push(trouble);
                let version = store.version;
                self.shared.changed.send_replace(version);
            }
        }
    }

    /// Everything that is there.
    pub(crate) fn slices(&self) -> Vec<Value> {
        self.store().slices.values().cloned().collect()
    }

    /// Every query so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.store().asked.clone()
    }
}

async fn slices(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = api.refusal(&headers, &query) {
        return refusal;
    }
    let is_on = |name: &str| {
        query
            .get(name)
            .is_some_and(|value| matches!(value.as_str(), "1" | "true"))
    };
    if namespace != "default" {
        return list(&mut Store::default(), &query);
    }
    if is_on("watch") {
        return api.watch(&query, is_on("allowWatchBookmarks"));
    }
    list(&mut api.store(), &query)
}

impl Api {
    fn refusal(&self, headers: &HeaderMap, query: &BTreeMap<String, String>) -> Option<Response> {
        let mut store = self.store();
        store.asked.push(format!("{query:?}"));
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let shown = shown
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        if !store.tokens.is_empty() && !store.tokens.contains(shown) {
            return Some(failure(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "who are you?",
            ));
        }
        match store.refusals.pop_front()? {
            StatusCode::TOO_MANY_REQUESTS => {
                let refusal = failure(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "later");
                Some(([(header::RETRY_AFTER, "1")], refusal).into_response())
            }
            StatusCode::GONE => Some(failure(StatusCode::GONE, "Expired", "too old")),
            status => Some(failure(status, "InternalError", "not now")),
        }
    }

    fn watch(&self, query: &BTreeMap<String, String>, bookmarks: bool) -> Response {
        let store = self.store();
        let from: u64 = match query.get("resourceVersion").map(String::as_str) {
            None | Some("" | "0") => 0,
            Some(version) => version.parse().unwrap_or(u64::MAX),
        };
        if from < store.compacted || from > store.version {
            return failure(StatusCode::GONE, "Expired", "too old resource version");
        }
        let seconds = query
            .get("timeoutSeconds")
            .and_then(|text| text.parse().ok());
        let watcher = Watcher {
            api: self.clone(),
            changed: self.shared.changed.subscribe(),
            selector: query.get("labelSelector").cloned(),
            seen: from,
            troubles: store.troubles.len(),
            bookmarks,
            quiet: false,
            ended: false,
        };
        drop(store);
        let stream = futures_util::stream::unfold(watcher, Watcher::next);
        let stream = futures_util::StreamExt::take_until(
            stream,
            Box::pin(tokio::time::sleep(Duration::from_secs(
                seconds.unwrap_or(300),
            ))),
        );
        (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(stream),
        )
            .into_response()
    }
}

/// One open watch.
struct Watcher {
    api: Api,
    changed: watch::Receiver<u64>,
    selector: Option<String>,
    seen: u64,
    troubles: usize,
    bookmarks: bool,
    quiet: bool,
    ended: bool,
}

type Piece = Result<Bytes, std::io::Error>;

impl Watcher {
    async fn next(mut self) -> Option<(Piece, Self)> {
        loop {
            if self.ended {
                return None;
            }
            // What has happened before the trouble is told before it.
            if let Some(line) = self.news() {
                self.quiet = false;
                return Some((Ok(line), self));
            }
            if let Some(piece) = self.trouble() {
                return piece.map(|piece| (piece, self));
            }
            let changed = tokio::time::timeout(BOOKMARK_AFTER, self.changed.changed()).await;
            if changed.is_err()
                && let Some(line) = self.bookmark()
            {
                return Some((Ok(line), self));
            }
        }
    }

    /// Tells, once in a silence, up to where there is nothing more to tell.
    fn bookmark(&mut self) -> Option<Bytes> {
        if !self.bookmarks || self.quiet {
            return None;
        }
        let store = self.api.store();
        let untold = store.log.iter().any(|(version, _, slice)| {
            *version > self.seen && selected(slice, self.selector.as_deref())
        });
        if untold {
            return None;
        }
        self.quiet = true;
        let object = json!({
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"resourceVersion": store.version.to_string()},
            "endpoints": null, "ports": null, "addressType": "",
        });
        Some(line("BOOKMARK", &object))
    }

    /// What is new to this watch.
    fn news(&mut self) -> Option<Bytes> {
        let store = self.api.store();
        let mut news = store
            .log
            .iter()
            .filter(|(version, ..)| *version > self.seen);
        let (version, kind, slice) =
            news.find(|(_, _, slice)| selected(slice, self.selector.as_deref()))?;
        let line = line(kind, slice);
        self.seen = *version;
        Some(line)
    }

    /// `Some(None)` ends the watch.
    fn trouble(&mut self) -> Option<Option<Piece>> {
        let store = self.api.store();
        let trouble = *store.troubles.get(self.troubles)?;
        self.troubles += 1;
        match trouble {
            Fault::End => Some(None),
            Fault::Cut => {
                self.ended = true;
                Some(Some(Ok(Bytes::from_static(
                    b"{\"type\":\"MODIFIED\",\"obj",
                ))))
            }
            Fault::Expire => {
                self.ended = true;
                let status = status(StatusCode::GONE, "Expired", "too old resource version");
                Some(Some(Ok(line("ERROR", &status))))
            }
            _ => {
                let (_, kind, slice) = store.log.iter().rev().find(|(version, _, slice)| {
                    *version <= self.seen && selected(slice, self.selector.as_deref())
                })?;
                Some(Some(Ok(line(kind, slice))))
            }
        }
    }
}

/// A page. Those after the first one are of the moment of the first one, as long as that is not too old.
fn list(store: &mut Store, query: &BTreeMap<String, String>) -> Response {
    let token = query
        .get("continue")
        .and_then(|token| token.split_once('/'));
    let (version, after) = match token {
        Some((version, after)) => (version.parse().unwrap_or(0), after.to_owned()),
        None => (store.version, String::new()),
    };
    if token.is_none() {
        store.moments.insert(version, store.slices.clone());
    }
    let moment = store
        .moments
        .get(&version)
        .filter(|_| version >= store.compacted);
    let Some(slices) = moment else {
        return failure(StatusCode::GONE, "Expired", "the continue token is too old");
    };
    let limit: usize = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(usize::MAX);
    let limit = limit.min(store.page.unwrap_or(usize::MAX)).max(1);
    let selector = query.get("labelSelector").map(String::as_str);
    let rest = slices
        .iter()
        .filter(|(name, slice)| **name > after && selected(slice, selector));
    let rest: Vec<(&String, &Value)> = rest.collect();
    let items: Vec<&Value> = rest.iter().take(limit).map(|(_, slice)| *slice).collect();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if rest.len() > items.len() {
        metadata["continue"] = format!("{version}/{}", rest[items.len() - 1].0).into();
        metadata["remainingItemCount"] = (rest.len() - items.len()).into();
    }
    let list = json!({
        "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
        "metadata": metadata, "items": items,
    });
    axum_json(&list)
}

/// The one kind of selector that is used: `label=value`.
fn selected(slice: &Value, selector: Option<&str>) -> bool {
    let Some((label, value)) = selector.and_then(|selector| selector.split_once('=')) else {
        return true;
    };
    slice["metadata"]["labels"][label] == value
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}

fn status(code: StatusCode, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    })
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    (code, axum_json(&status(code, reason, message))).into_response()
}

fn axum_json(value: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

fn resources(group: &str, kinds: &Value) -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": kinds})
}

fn kinds() -> Value {
    json!([{
        "name": "endpointslices", "singularName": "endpointslice", "namespaced": true,
        "kind": "EndpointSlice", "verbs": ["get", "list", "watch"],
    }])
}

fn groups() -> Value {
    let version = json!({"groupVersion": "discovery.k8s.io/v1", "version": "v1"});
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [
        {"name": "discovery.k8s.io", "versions": [version], "preferredVersion": version},
    ]})
}
