use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use lb_autoscale::Autoscaler;
use lb_autoscale::actuator::DryRun;
use lb_autoscale::run::AutoscalerHandle;
use lb_core::EndpointId;
use lb_core::client::TrustedProxies;
use lb_gpu::probe::AbsentReason;
use lb_gpu::{FakeProbe, Sampler};
use lb_registry::{Instance, Registration, Registry as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::ledger::MemoryLedger;
use crate::wiring::limits::PerSecond;
use crate::wiring::{keep, load};

/// An API over a pool of two, and the loop that it steers.
fn api() -> (Router, Scaling, AutoscalerHandle) {
    let ledger = Arc::new(MemoryLedger::default());
    let pool = Pool::builder("simulation")
        .endpoints(["http://127.0.0.1:1", "http://127.0.0.1:2"])
        .build()
        .unwrap();
    let source = load::source(ledger.clone(), || None);
    let autoscaler = Autoscaler::new(load::spec(false).unwrap(), source, DryRun::new(3)).run();
    let scaling = Scaling {
        pool,
        weights: Weights::default(),
        limits: Limits::new(PerSecond::new(100, 10).unwrap(), TrustedProxies::default()).unwrap(),
        registry: InProcess::default(),
        control: autoscaler.control(),
        gpus: Arc::new(Sampler::start(FakeProbe::absent(AbsentReason::NoLibrary))),
        results: CachedResults::new(ledger).unwrap(),
        begun: crate::clock::now(),
    };
    (scaling.clone().routes(), scaling, autoscaler)
}

async fn ask(
    api: &Router,
    peer: &str,
    method: &str,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/enterprise/scaling/{path}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(PeerAddr(peer));
    let response = api.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

const HERE: &str = "127.0.0.1:50000";

#[tokio::test]
async fn everything_that_can_be_read_is_an_object() {
    let (api, _, _autoscaler) = api();
    for path in [
        "load-balancer/status",
        "instances",
        "cache/stats",
        "performance/summary",
        "health",
    ] {
        let (status, answer) = ask(&api, HERE, "GET", path, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(answer.is_object(), "{path}: {answer}");
    }
}

#[tokio::test]
async fn another_machine_is_refused_and_so_is_a_form() {
    let (api, _, _autoscaler) = api();
    let (status, _) = ask(&api, "10.0.0.7:50000", "GET", "health", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let mut form = Request::post("/enterprise/scaling/cache/clear")
        .body(Body::empty())
        .unwrap();
    form.extensions_mut()
        .insert(PeerAddr(HERE.parse().unwrap()));
    let answer = api.clone().oneshot(form).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn policy_and_weights_change_together_or_not_at_all() {
    let (api, scaling, _autoscaler) = api();
    let id = EndpointId::from("http://127.0.0.1:1");
    let wanted = json!({ "policy": { "policy": "round_robin" }, "weights": { "nobody": 2 } });
    let (status, problem) = ask(&api, HERE, "POST", "load-balancer/configure", wanted).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::NOT_FOUND, &json!("nobody"))
    );
    assert_eq!(scaling.pool.status().policy, "least_request");
    let wanted =
        json!({ "policy": { "policy": "round_robin" }, "limits": { "uploads_per_second": 0 } });
    let (status, problem) = ask(&api, HERE, "POST", "load-balancer/configure", wanted).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("limits"))
    );
    assert_eq!(scaling.pool.status().policy, "least_request");
    let wanted = json!({ "limits": { "requests_per_second": 10 } });
    let (status, _) = ask(&api, HERE, "POST", "load-balancer/configure", wanted).await;
    assert_eq!(status, StatusCode::OK);
    let limits = scaling.limits.get();
    assert_eq!((limits.requests(), limits.uploads()), (10, 10));
    let wanted = json!({ "policy": { "policy": "round_robin" }, "weights": { id.as_str(): 7 } });
    let (status, _) = ask(&api, HERE, "POST", "load-balancer/configure", wanted).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(scaling.pool.status().policy, "round_robin");
    assert_eq!(scaling.pool.endpoint(&id).unwrap().weight(), 7);
}

#[tokio::test]
async fn the_bounds_of_the_fleet_are_checked_before_they_count() {
    let (api, scaling, _autoscaler) = api();
    for wrong in [
        json!({ "min_replicas": 9, "max_replicas": 3 }),
        json!({ "max_replicas": 1_000 }),
        json!({ "max_replicas": -1 }),
        json!({ "replicas": 3 }),
    ] {
        let (status, problem) = ask(&api, HERE, "POST", "auto-scaling/configure", wrong).await;
        assert!(status.is_client_error(), "{status}");
        assert!(!problem["hint"].as_str().unwrap().is_empty());
    }
    assert_eq!(scaling.control.spec().max_replicas(), 5);
    let (status, _) = ask(
        &api,
        HERE,
        "POST",
        "auto-scaling/configure",
        json!({ "max_replicas": 4 }),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(scaling.control.spec().max_replicas(), 4);
}

#[tokio::test]
async fn clearing_the_cache_empties_it() {
    let (api, scaling, _autoscaler) = api();
    let outcome = serde_json::value::to_raw_value(&1).unwrap();
    keep::keeper(scaling.results.cache.clone())("{}".into(), outcome.into()).await;
    assert!(scaling.results.cache.get_if_local(&"{}".into()).is_some());
    let (status, _) = ask(&api, HERE, "POST", "cache/clear", json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert!(scaling.results.cache.get_if_local(&"{}".into()).is_none());
}

#[tokio::test]
async fn every_decision_is_explained_to_people_and_nothing_can_be_changed_there() {
    let (api, scaling, autoscaler) = api();
    autoscaler.next_decision().await;
    let page = |path: &str| {
        let mut request = Request::get(format!("/enterprise/scaling/{path}"))
            .body(Body::empty())
            .unwrap();
        let peer = PeerAddr(HERE.parse().unwrap());
        request.extensions_mut().insert(peer);
        let answer = api.clone().oneshot(request);
        async {
            let body = answer.await.unwrap().into_body().collect().await;
            String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
        }
    };
    let at = scaling.control.latest().unwrap().at.millis();
    for path in ["auto-scaling", &format!("auto-scaling?at={at}")] {
        let html = page(path).await;
        assert!(html.contains("Step by step"), "{path}: {html}");
    }
    assert!(page("auto-scaling/why").await.starts_with("stays at 3"));
    let spec = serde_json::to_value(scaling.control.spec()).unwrap();
    for method in ["PUT", "POST", "DELETE"] {
        for path in ["auto-scaling/spec", "auto-scaling/override"] {
            let (status, _) = ask(&api, HERE, method, path, spec.clone()).await;
            assert!(status.is_client_error(), "{method} {path}: {status}");
        }
    }
    assert_eq!(scaling.control.audit().len(), 0);
    let (status, _) = ask(&api, "10.0.0.7:50000", "GET", "auto-scaling", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_registry_shows_the_set_that_it_follows_and_drains_nobody_here() {
    let (api, scaling, _autoscaler) = api();
    let instance = Instance::new(SERVICE, "sim-0", "127.0.0.1", 8000);
    let registration = Registration::new(instance);
    scaling.registry.register(&registration).await.unwrap();
    let (status, all) = ask(&api, HERE, "GET", "registry", json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(all["services"][0]["service"], SERVICE);
    let (_, one) = ask(&api, HERE, "GET", &format!("registry/{SERVICE}"), json!({})).await;
    assert_eq!(one["instances"][0]["id"], "sim-0", "{one}");
    let (status, _) = ask(&api, HERE, "GET", "registry/nobody", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = ask(&api, HERE, "POST", "registry/sim-0/drain", json!({})).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = ask(&api, "10.0.0.7:50000", "GET", "registry", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_machine_without_gpus_shows_an_empty_picture_of_them() {
    let (api, scaling, _autoscaler) = api();
    scaling.gpus.ready().await;
    let (status, picture) = ask(&api, HERE, "GET", "gpus", json!({})).await;
    assert_eq!((status, &picture["devices"]), (StatusCode::OK, &json!([])));
    for path in ["gpus/health", "gpus/metrics"] {
        let (status, _) = ask(&api, HERE, "GET", path, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    let (status, _) = ask(&api, HERE, "POST", "gpus/devices/0/clear-health", json!({})).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = ask(&api, "10.0.0.7:50000", "GET", "gpus", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
