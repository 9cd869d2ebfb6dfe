//! Whatever is sent: an exact status, and a problem that says what to do.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::ledger::{Ledger, Limits, MemoryLedger};
use crate::wiring::results::CachedResults;
use crate::wiring::{keep, specs};

const SPEC: &str = r#"{"inputs": {"x": {"distribution": "normal", "mean": 0, "std_dev": 1}}, "formula": "x", "iterations": 1000, "seed": 1}"#;

/// Routes over a ledger with room for two unfinished jobs, and a fleet without an instance.
fn routes() -> Router {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(Limits { jobs: 8, active: 2 }));
    let results = CachedResults::new(Arc::clone(&ledger)).unwrap();
    let jobs = Jobs::new(
        ledger,
        Arc::new(|_| None),
        keep::keeper(results.cache.clone()),
    );
    Api::new(jobs, Arc::new(specs::check), Arc::new(results)).routes()
}

async fn ask(
    routes: &Router,
    method: &str,
    path: &str,
    body: impl Into<Body>,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body.into())
        .unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

/// Sends a specification with one thing replaced.
async fn put(replace: &str, by: &str) -> (StatusCode, Value) {
    assert!(SPEC.contains(replace), "{replace} is in the specification");
    ask(
        &routes(),
        "PUT",
        "/simulations/a",
        SPEC.replace(replace, by),
    )
    .await
}

#[tokio::test]
async fn a_submit_is_idempotent_and_another_specification_is_a_conflict() {
    let routes = routes();
    assert_eq!(
        ask(&routes, "PUT", "/simulations/a", SPEC).await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        ask(&routes, "PUT", "/simulations/a", SPEC).await.0,
        StatusCode::OK
    );
    let other = SPEC.replace("\"seed\": 1", "\"seed\": 2");
    let (status, problem) = ask(&routes, "PUT", "/simulations/a", other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        problem["hint"].as_str().unwrap().contains("another id"),
        "{problem}"
    );
    let (_, view) = ask(&routes, "GET", "/simulations/a", "").await;
    assert_eq!(
        (&view["status"], &view["percent"]),
        (&"queued".into(), &0.0.into())
    );
}

#[tokio::test]
async fn a_bad_specification_is_refused_with_the_field_and_a_hint() {
    let wrong = [
        ("\"formula\": \"x\"", "\"formula\": \"x +\"", "formula"),
        (
            "\"formula\": \"x\"",
            "\"formula\": \"1 / (x - x)\"",
            "formula",
        ),
        ("\"formula\": \"x\"", "\"formula\": \"y\"", "formula"),
        ("\"iterations\": 1000", "\"iterations\": 10", "iterations"),
        (
            "\"iterations\": 1000",
            "\"iterations\": 100000000000",
            "iterations",
        ),
        ("\"std_dev\": 1", "\"std_dev\": -1", "inputs.x.std_dev"),
        ("\"mean\": 0", "\"mean\": 1e400", "body"),
        ("\"mean\": 0", "\"mean\": NaN", "body"),
        ("\"seed\": 1", "\"seed\": -1", "body"),
        ("normal", "cauchy", "body"),
    ];
    for (replace, by, field) in wrong {
        let (status, problem) = put(replace, by).await;
        assert!(status.is_client_error(), "{by}: {status}");
        assert_eq!(problem["field"], field, "{by}: {problem}");
        assert!(!problem["hint"].as_str().unwrap().is_empty(), "{by}");
    }
}

#[tokio::test]
async fn hostile_ids_and_paths_are_refused() {
    let routes = routes();
    for id in [
        "%2e%2e",
        "a%2fb",
        "a%00",
        "%ff",
        "a%20b",
        "%3Cscript%3E",
        &"x".repeat(65),
    ] {
        let (status, problem) = ask(&routes, "PUT", &format!("/simulations/{id}"), SPEC).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{id}");
        assert!(
            !problem["hint"].as_str().unwrap_or_default().is_empty(),
            "{id}: {problem}"
        );
    }
    for path in [
        "/simulations/a/b",
        "/simulations/a/progress/x",
        "/simulations/",
    ] {
        assert_eq!(
            ask(&routes, "GET", path, "").await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        ask(&routes, "POST", "/simulations/a", SPEC).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn nothing_below_our_paths_reaches_an_instance() {
    let instance = || async { StatusCode::IM_A_TEAPOT };
    let routes = routes().fallback(instance);
    for path in [
        "/simulations/",
        "/simulations//",
        "/simulations//progress",
        "/simulations/a/",
        "/simulations/a//",
        "/simulations/a/result/",
        "/simulations/a/progress/x/y",
    ] {
        for method in ["GET", "PUT", "OPTIONS"] {
            let (status, _) = ask(&routes, method, path, "").await;
            assert!(status.is_client_error(), "{method} {path}");
            assert_ne!(status, StatusCode::IM_A_TEAPOT, "{method} {path}");
        }
    }
    let (status, _) = ask(&routes, "GET", "/simulationsx", "").await;
    assert_eq!(status, StatusCode::IM_A_TEAPOT, "the control");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 4096]));
    let (status, problem) = ask(
        &routes(),
        "PUT",
        "/simulations/a",
        Body::from_stream(endless),
    )
    .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        problem["hint"].as_str().unwrap().contains("16384"),
        "{problem}"
    );
}

#[tokio::test]
async fn an_unknown_job_is_not_found_everywhere() {
    let routes = routes();
    for (method, path) in [
        ("GET", "/simulations/nobody"),
        ("DELETE", "/simulations/nobody"),
        ("GET", "/simulations/nobody/result"),
        ("GET", "/simulations/nobody/progress"),
    ] {
        let (status, problem) = ask(&routes, method, path, "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}");
        assert!(
            problem["hint"].as_str().unwrap().contains("PUT"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_resume_must_be_a_number_that_was_given_out_and_a_websocket() {
    let routes = routes();
    ask(&routes, "PUT", "/simulations/a", SPEC).await;
    for query in [
        "after=x",
        "after=-1",
        "after=18446744073709551616",
        "since=1",
        "after=1",
    ] {
        let path = format!("/simulations/a/progress?{query}");
        assert_eq!(
            ask(&routes, "GET", &path, "").await.0,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
    let request = Request::get("/simulations/a/progress").body(Body::empty());
    let answer = routes.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
    let header = |name| answer.headers().get(name).map(http::HeaderValue::as_bytes);
    assert_eq!(header("upgrade"), Some(&b"websocket"[..]));
    assert_eq!(header("connection"), Some(&b"upgrade"[..]));
    assert_eq!(header("sec-websocket-version"), Some(&b"13"[..]));
}

#[tokio::test]
async fn each_route_says_what_else_it_can_do_and_head_is_get_without_its_body() {
    let routes = routes();
    ask(&routes, "PUT", "/simulations/a", SPEC).await;
    for (path, allowed, head) in [
        ("/simulations", "GET,HEAD", 200),
        ("/simulations/a", "PUT,GET,HEAD,DELETE", 200),
        ("/simulations/a/result", "GET,HEAD", 404),
        ("/simulations/a/progress", "GET,HEAD", 426),
    ] {
        for method in ["OPTIONS", "POST", "TRACE", "BREW"] {
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::empty()).unwrap();
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["allow"]),
                (405, &allowed.parse().unwrap()),
                "{method} {path}"
            );
        }
        let request = Request::head(path).body(Body::empty()).unwrap();
        let answer = routes.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), head, "HEAD {path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "HEAD {path}");
    }
}

#[tokio::test]
async fn a_full_ledger_says_when_to_come_back() {
    let routes = routes();
    for id in ["a", "b"] {
        ask(&routes, "PUT", &format!("/simulations/{id}"), SPEC).await;
    }
    let request = Request::put("/simulations/c")
        .body(Body::from(SPEC))
        .unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let (_, cancelled) = ask(&routes, "DELETE", "/simulations/a", "").await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(
        ask(&routes, "PUT", "/simulations/c", SPEC).await.0,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_job_without_a_result_has_none_to_give() {
    let routes = routes();
    ask(&routes, "PUT", "/simulations/a", SPEC).await;
    assert_eq!(
        ask(&routes, "GET", "/simulations/a/result", "").await.0,
        StatusCode::NOT_FOUND
    );
    let (status, problem) = ask(&routes, "PUT", "/simulations/b?reuse=maybe", SPEC).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::BAD_REQUEST, &"query".into())
    );
}
