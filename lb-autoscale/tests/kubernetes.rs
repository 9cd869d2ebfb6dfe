//! The scale subresource, against an API server of a few lines.
#![cfg(feature = "kubernetes")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lb_autoscale::actuator::{Actuator, ActuatorError};
use lb_autoscale::kubernetes::{Kubernetes, Workload};
use lb_autoscale::{Decision, Inputs, Spec, State, UnixMillis, decide};
use serde_json::{Value, json};

/// What the API server knows.
#[derive(Default)]
struct Cluster {
    replicas: u64,
    version: u64,
    owner: Option<&'static str>,
    forbid: bool,
}

type Shared = Arc<Mutex<Cluster>>;

fn answer(cluster: &Shared, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
    let mut cluster = cluster.lock().expect("no holder panics");
    if cluster.forbid {
        return (StatusCode::FORBIDDEN, json!({ "message": "no rights" }));
    }
    if path.ends_with("/horizontalpodautoscalers") {
        let items: Vec<Value> = cluster
            .owner
            .iter()
            .map(|name| {
                let target = json!({ "kind": "Deployment", "name": "simulation" });
                json!({ "metadata": { "name": name }, "spec": { "scaleTargetRef": target } })
            })
            .collect();
        return (StatusCode::OK, json!({ "items": items }));
    }
    if path.contains("/pods?") {
        let ready = json!([{ "type": "Ready", "status": "True" }]);
        let pod = |n: u64| json!({ "metadata": { "name": format!("pod-{n}") }, "status": { "phase": "Running", "conditions": ready } });
        return (
            StatusCode::OK,
            json!({ "items": (0..cluster.replicas).map(pod).collect::<Vec<_>>() }),
        );
    }
    if path != "/apis/apps/v1/namespaces/web/deployments/simulation/scale" {
        return (StatusCode::NOT_FOUND, json!({ "message": "not found" }));
    }
    if method == Method::PATCH {
        let patch: Value = serde_json::from_slice(body).unwrap_or_default();
        let version = cluster.version.to_string();
        if patch["metadata"]["resourceVersion"].as_str() != Some(version.as_str()) {
            return (
                StatusCode::CONFLICT,
                json!({ "message": "the object has been modified" }),
            );
        }
        cluster.replicas = patch["spec"]["replicas"].as_u64().unwrap_or_default();
        cluster.version += 1;
    }
    let scale = json!({
        "metadata": { "resourceVersion": cluster.version.to_string() },
        "spec": { "replicas": cluster.replicas },
        "status": { "replicas": cluster.replicas, "selector": "app=simulation" },
    });
    (StatusCode::OK, scale)
}

async fn serve(cluster: Shared) -> std::io::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let cluster = Arc::clone(&cluster);
            let service = service_fn(move |request: Request<Incoming>| {
                let cluster = Arc::clone(&cluster);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let path = head
                        .uri
                        .path_and_query()
                        .map_or("", |path| path.as_str())
                        .to_owned();
                    let (status, value) = answer(&cluster, &head.method, &path, &body);
                    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())));
                    *answer.status_mut() = status;
                    Ok::<_, hyper::Error>(answer)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    Ok(address)
}

async fn actuator(cluster: &Shared, name: &str) -> Kubernetes {
    let address = serve(Arc::clone(cluster)).await.expect("a free port");
    Kubernetes::new(&address, Workload::deployment("web", name)).expect("a valid address")
}

fn to_three(current: u32) -> Decision {
    let spec = Spec::builder("simulation")
        .replicas(3..=3)
        .build()
        .expect("valid");
    decide(
        &spec,
        &mut State::default(),
        &Inputs::new(current),
        UnixMillis::from_secs(0),
    )
}

#[tokio::test]
async fn the_scale_is_read_and_patched() {
    let cluster = Shared::default();
    cluster.lock().expect("no holder panics").replicas = 2;
    let mut actuator = actuator(&cluster, "simulation").await;
    let fleet = actuator.observe().await.expect("the server answers");
    assert_eq!((fleet.replicas, fleet.pods.len()), (2, 2));
    assert!(fleet.pods.iter().all(lb_autoscale::inputs::Pod::is_healthy));
    actuator
        .apply(&to_three(2))
        .await
        .expect("the server accepts");
    assert_eq!(cluster.lock().expect("no holder panics").replicas, 3);
}

#[tokio::test]
async fn a_concurrent_edit_is_a_conflict_and_read_anew() {
    let cluster = Shared::default();
    let mut actuator = actuator(&cluster, "simulation").await;
    actuator.observe().await.expect("the server answers");
    cluster.lock().expect("no holder panics").version += 1;
    let refused = actuator.apply(&to_three(1)).await;
    assert!(
        matches!(refused, Err(ActuatorError::Conflict(_))),
        "{refused:?}"
    );
    actuator.observe().await.expect("the server answers");
    actuator
        .apply(&to_three(1))
        .await
        .expect("the new version fits");
}

#[tokio::test]
async fn a_target_that_another_autoscaler_owns_is_refused() {
    let cluster = Shared::default();
    cluster.lock().expect("no holder panics").owner = Some("old-hpa");
    let mut actuator = actuator(&cluster, "simulation").await;
    actuator.observe().await.expect("the server answers");
    let refused = actuator.apply(&to_three(1)).await;
    assert!(
        matches!(&refused, Err(ActuatorError::Refused(why)) if why.contains("old-hpa")),
        "{refused:?}"
    );
    assert_eq!(cluster.lock().expect("no holder panics").replicas, 0);
}

#[tokio::test]
async fn missing_rights_and_missing_targets_are_told_apart() {
    let cluster = Shared::default();
    let mut missing = actuator(&cluster, "nobody").await;
    assert!(matches!(
        missing.observe().await,
        Err(ActuatorError::Refused(_))
    ));
    cluster.lock().expect("no holder panics").forbid = true;
    assert!(matches!(
        missing.observe().await,
        Err(ActuatorError::Forbidden(_))
    ));
    let nobody = Workload::deployment("web", "simulation");
    let mut gone = Kubernetes::new("http://127.0.0.1:1", nobody).expect("a valid address");
    assert!(matches!(
        gone.observe().await,
        Err(ActuatorError::Unavailable(_))
    ));
}
