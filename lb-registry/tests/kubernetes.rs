//! EndpointSlices against a double of the API: what a real one does on a good day and on bad ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use lb_registry::fail_static::Settings;
use lb_registry::{Discovery, Kubernetes, Origin, Snapshot, Status, Watch};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(10);

/// What the double answers, and the open watch.
#[derive(Default)]
struct Api {
    slices: Vec<Value>,
    version: u64,
    refusals: VecDeque<Response>,
    lines: Option<mpsc::UnboundedSender<Bytes>>,
    questions: Vec<String>,
    /// Every watch ends at once, with this.
    ends: Option<&'static str>,
}

type Shared = Arc<Mutex<Api>>;

async fn answer(State(api): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let mut api = api.lock().expect("nobody panicked");
    let query = query.unwrap_or_default();
    api.questions.push(query.clone());
    if let Some(refusal) = api.refusals.pop_front() {
        return refusal;
    }
    if !query.contains("watch=1") {
        let metadata = json!({"resourceVersion": api.version.to_string()});
        return Body::from(json!({"metadata": metadata, "items": api.slices}).to_string())
            .into_response();
    }
    if let Some(end) = api.ends {
        return end.into_response();
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    api.lines = Some(sender);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        Some((Ok::<_, std::io::Error>(receiver.recv().await?), receiver))
    });
    Body::from_stream(stream).into_response()
}

async fn serve() -> (Shared, Kubernetes) {
    let api = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback works");
    let url = format!("http://{}", listener.local_addr().expect("loopback works"));
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let app = Router::new()
        .route(path, get(answer))
        .with_state(Arc::clone(&api));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (api, Kubernetes::new(&url).expect("loopback works"))
}

fn slice(name: &str, version: u64, pods: &[(&str, Value)]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .enumerate()
        .map(|(last, (pod, conditions))| {
            json!({"addresses": [format!("10.0.0.{last}")], "conditions": conditions, "targetRef": {"name": pod, "uid": pod}})
        })
        .collect();
    json!({
        "metadata": {"name": name, "resourceVersion": version.to_string()},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8000}],
        "endpoints": endpoints,
    })
}

fn ready() -> Value {
    json!({"ready": true})
}

/// Sends a line of the watch once there is a watch.
async fn event(api: &Shared, kind: &str, object: Value) {
    let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
    loop {
        let sender = api.lock().expect("nobody panicked").lines.clone();
        if sender.is_some_and(|sender| sender.send(line.clone()).is_ok()) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn until(watch: &mut Watch, condition: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let waiting = watch.until(|set| !set.is_pending() && condition(set));
    tokio::time::timeout(SOON, waiting)
        .await
        .expect("it happens soon")
        .expect("the watch is alive")
}

fn ids(set: &Snapshot) -> Vec<&str> {
    set.instances.iter().map(|one| one.id.as_str()).collect()
}

#[tokio::test]
async fn a_list_and_its_changes_are_followed() {
    let (api, kubernetes) = serve().await;
    api.lock().expect("nobody panicked").slices = vec![slice("s1", 5, &[("web-0", ready())])];
    let mut watch = kubernetes.watch("web");
    until(&mut watch, |set| ids(set) == ["web-0"]).await;
    event(&api, "ADDED", slice("s2", 6, &[("web-1", ready())])).await;
    until(&mut watch, |set| ids(set) == ["web-0", "web-1"]).await;
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    event(&api, "MODIFIED", slice("s2", 7, &[("web-1", leaving)])).await;
    until(&mut watch, |set| {
        set.get("web-1")
            .is_some_and(|pod| pod.status == Status::Draining)
    })
    .await;
    event(&api, "DELETED", slice("s2", 8, &[])).await;
    until(&mut watch, |set| ids(set) == ["web-0"]).await;
    let asked = api.lock().expect("nobody panicked").questions.clone();
    assert!(
        asked[0].contains("labelSelector=kubernetes%2Eio%2Fservice%2Dname%3Dweb"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_cut_watch_goes_on_from_the_last_bookmark() {
    let (api, kubernetes) = serve().await;
    api.lock().expect("nobody panicked").slices = vec![slice("s1", 5, &[("web-0", ready())])];
    let mut watch = kubernetes.watch("web");
    until(&mut watch, |set| ids(set) == ["web-0"]).await;
    event(
        &api,
        "BOOKMARK",
        json!({"metadata": {"resourceVersion": "77"}}),
    )
    .await;
    api.lock().expect("nobody panicked").lines = None; // an orderly end of the stream
    event(&api, "ADDED", slice("s2", 78, &[("web-1", ready())])).await;
    until(&mut watch, |set| ids(set) == ["web-0", "web-1"]).await;
    let asked = api.lock().expect("nobody panicked").questions.clone();
    assert_eq!(
        asked
            .iter()
            .filter(|query| !query.contains("watch=1"))
            .count(),
        1,
        "{asked:?}"
    );
    assert!(
        asked
            .last()
            .is_some_and(|query| query.contains("resourceVersion=77")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn too_old_a_version_lists_anew_without_an_empty_set_in_between() {
    for in_stream in [true, false] {
        let (api, kubernetes) = serve().await;
        api.lock().expect("nobody panicked").slices = vec![slice("s1", 5, &[("web-0", ready())])];
        let mut watch = kubernetes.watch("web");
        until(&mut watch, |set| ids(set) == ["web-0"]).await;
        let seen = tokio::spawn({
            let mut watch = watch.clone();
            async move { until(&mut watch, |set| ids(set) != ["web-0"]).await }
        });
        {
            let mut api = api.lock().expect("nobody panicked");
            api.slices = vec![slice("s9", 90, &[("web-9", ready())])];
            if !in_stream {
                api.refusals.push_back(StatusCode::GONE.into_response());
                api.lines = None;
            }
        }
        if in_stream {
            event(&api, "ERROR", json!({"kind": "Status", "code": 410})).await;
        }
        assert_eq!(ids(&seen.await.expect("the task ends")), ["web-9"]);
    }
}

#[tokio::test]
async fn refusals_leave_the_set_as_it_was() {
    for status in [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::UNAUTHORIZED,
        StatusCode::INTERNAL_SERVER_ERROR,
    ] {
        let (api, kubernetes) = serve().await;
        api.lock().expect("nobody panicked").slices = vec![slice("s1", 5, &[("web-0", ready())])];
        let mut watch = kubernetes.watch("web");
        until(&mut watch, |set| ids(set) == ["web-0"]).await;
        {
            let mut api = api.lock().expect("nobody panicked");
            api.refusals.push_back(status.into_response());
            api.refusals.push_back(status.into_response());
            api.lines = None;
        }
        let stale = until(&mut watch, |set| matches!(set.origin, Origin::Stale { .. })).await;
        assert_eq!(ids(&stale), ["web-0"], "{status}");
        until(&mut watch, |set| set.origin == Origin::Live).await;
    }
}

#[tokio::test]
async fn the_last_pod_that_goes_is_believed_after_the_grace() {
    let (api, kubernetes) = serve().await;
    api.lock().expect("nobody panicked").slices = vec![slice("s1", 5, &[("web-0", ready())])];
    let quick = Settings {
        empty_grace: Duration::from_millis(300),
        ..Settings::default()
    };
    let mut watch = kubernetes.fail_static(quick).watch("web");
    until(&mut watch, |set| ids(set) == ["web-0"]).await;
    event(&api, "DELETED", slice("s1", 6, &[])).await;
    let doubted = until(&mut watch, |set| set.origin != Origin::Live).await;
    assert_eq!(ids(&doubted), ["web-0"]);
    until(&mut watch, |set| set.instances.is_empty()).await;
}

#[tokio::test]
async fn a_set_that_has_been_kept_for_long_enough_goes_though_the_server_asked_for_a_long_pause() {
    let (api, kubernetes) = serve().await;
    api.lock().expect("nobody panicked").slices = vec![slice("s1", 5, &[("web-0", ready())])];
    let quick = Settings {
        stale_max: Duration::from_millis(300),
        ..Settings::default()
    };
    let mut watch = kubernetes.fail_static(quick).watch("web");
    until(&mut watch, |set| ids(set) == ["web-0"]).await;
    {
        let mut api = api.lock().expect("nobody panicked");
        let busy = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "60")]);
        api.refusals.push_back(busy.into_response());
        api.lines = None;
    }
    until(&mut watch, |set| set.instances.is_empty()).await;
}

fn now() -> std::time::Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "how often is asked takes real time"
    )]
    std::time::Instant::now()
}

#[tokio::test]
async fn a_server_that_ends_every_watch_at_once_is_asked_once_a_second() {
    for end in ["", r#"{"type": "ERROR", "object": {"code": 410}}"#] {
        let (api, kubernetes) = serve().await;
        let begun = now();
        api.lock().expect("nobody panicked").ends = Some(end);
        let _watch = kubernetes.watch("web");
        let watches = || {
            let api = api.lock().expect("nobody panicked");
            let watches = api
                .questions
                .iter()
                .filter(|query| query.contains("watch=1"));
            watches.count()
        };
        let asked = async {
            while watches() < 3 {
                tokio::task::yield_now().await;
            }
        };
        let asked = tokio::time::timeout(SOON, asked).await;
        asked.expect("it goes on asking");
        assert!(
            now() - begun >= Duration::from_secs(2),
            "{:?}",
            now() - begun
        );
    }
}
