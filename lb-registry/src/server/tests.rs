//! The server without sockets: a request in, a response out.

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower_service::Service as _;

use super::*;

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the body is JSON")
    }
}

async fn send(
    server: &EmbeddedServer,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Full::new(body.into()))
        .unwrap();
    let Ok(response) = server.clone().call(request).await;
    answer(response).await
}

async fn answer(response: Response<Full<Bytes>>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text,
    }
}

fn server() -> EmbeddedServer {
    EmbeddedServer::new(InProcess::default())
}

async fn get(server: &EmbeddedServer, path: &str) -> Answer {
    send(server, Method::GET, path, "").await
}

async fn put(server: &EmbeddedServer, path: &str, body: Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(server, Method::PUT, path, body).await
}

async fn register(server: &EmbeddedServer, body: Value) -> Answer {
    put(server, "/v1/agent/service/register", body).await
}

#[tokio::test]
async fn what_is_registered_is_found_by_every_reader() {
    let server = server();
    let body = json!({"ID": "w1", "Name": "web", "Port": 80, "Check": {"TTL": "10s", "Status": "passing"}});
    assert_eq!(register(&server, body).await.status, StatusCode::OK);
    let health = get(&server, "/v1/health/service/web?passing").await.json();
    assert_eq!(health[0]["Service"]["ID"], "w1");
    assert_eq!(
        get(&server, "/v1/catalog/services").await.json()["web"],
        json!([])
    );
    assert_eq!(
        get(&server, "/v1/agent/service/w1").await.json()["Port"],
        80
    );
    let watch = crate::Discovery::watch(server.store(), "web");
    assert_eq!(watch.latest().instances[0].uri(), "http://127.0.0.1:80");
}

#[tokio::test(start_paused = true)]
async fn a_ttl_that_runs_out_turns_critical_and_removes_after_the_time_asked_for() {
    let server = server();
    let check = json!({"TTL": "10s", "Status": "passing", "DeregisterCriticalServiceAfter": "90s"});
    register(&server, json!({"Name": "web", "Check": check})).await;
    let mut watch = crate::Discovery::watch(server.store(), "web");
    let critical = watch
        .until(|set| set.instances[0].status == crate::Status::Critical)
        .await;
    assert!(critical.is_some());
    let output = get(&server, "/v1/agent/checks").await.json()["service:web"]["Output"].clone();
    assert!(
        output
            .as_str()
            .is_some_and(|text| text.starts_with("TTL expired")),
        "{output}"
    );
    assert!(watch.until(|set| set.instances.is_empty()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_blocking_query_answers_with_the_same_index_when_nothing_happens() {
    let server = server();
    register(&server, json!({"Name": "web"})).await;
    let first = get(&server, "/v1/health/service/web").await;
    let index = first.headers["x-consul-index"].to_str().unwrap().to_owned();
    let path = format!("/v1/health/service/web?index={index}&wait=5s");
    let begun = crate::clock::now();
    let second = get(&server, &path).await;
    let took = crate::clock::now() - begun;
    assert_eq!(second.headers["x-consul-index"].to_str().unwrap(), index);
    assert_eq!(second.text, first.text);
    assert!(took >= std::time::Duration::from_secs(5), "{took:?}");
    assert!(took <= std::time::Duration::from_millis(5_500), "{took:?}");
}

#[tokio::test]
async fn a_change_of_another_service_does_not_wake_a_query() {
    let server = server();
    register(&server, json!({"Name": "web"})).await;
    let index = get(&server, "/v1/health/service/web").await.headers["x-consul-index"].clone();
    let path = format!(
        "/v1/health/service/web?index={}&wait=60s",
        index.to_str().unwrap()
    );
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { get(&server, &path).await }
    });
    while server.shared.blocked.available_permits() == server.shared.limits.blocked_queries {
        tokio::task::yield_now().await;
    }
    register(&server, json!({"Name": "other"})).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    register(&server, json!({"Name": "web", "Port": 81})).await;
    let woken = waiting.await.unwrap();
    assert_eq!(woken.json()[0]["Service"]["Port"], 81);
}

#[tokio::test]
async fn too_many_blocked_queries_are_refused() {
    let limits = ServerLimits {
        blocked_queries: 0,
        ..ServerLimits::default()
    };
    let server = EmbeddedServer::builder(InProcess::default())
        .limits(limits)
        .build();
    let answer = get(&server, "/v1/catalog/services?index=999&wait=1s").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn bad_input_gets_its_exact_status() {
    let server = server();
    let register = "/v1/agent/service/register";
    for (method, path, body, status) in [
        ("PUT", register, &b"{\"Name\":\"\xff\"}"[..], 400),
        ("PUT", register, b"{bad", 400),
        ("PUT", register, b"[]", 400),
        ("PUT", register, b"null", 400),
        (
            "PUT",
            register,
            br#"{"Name":"a","Check":{"TTL":"10"}}"#,
            400,
        ),
        (
            "PUT",
            register,
            br#"{"Name":"a","Check":{"HTTP":"http://127.0.0.1/","Interval":"1s"}}"#,
            400,
        ),
        (
            "PUT",
            register,
            br#"{"Name":"a","Check":{"HTTP":"http://169.254.169.254/","Interval":"1s"}}"#,
            400,
        ),
        (
            "PUT",
            register,
            br#"{"Name":"a","Check":{"TCP":"localhost:22","Interval":"1s"}}"#,
            400,
        ),
        (
            "PUT",
            register,
            br#"{"Name":"a","Check":{"Args":["x"],"Interval":"1s"}}"#,
            500,
        ),
        ("POST", register, b"{}", 405),
        ("PUT", "/v1/agent/check/pass/nothing", b"", 404),
        ("PUT", "/v1/agent/service/deregister/nothing", b"", 404),
        ("PUT", "/v1/agent/check/pass/%ff", b"", 400),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/v1/health/service/x?index=-1", b"", 400),
        ("GET", "/v1/health/service/x?index=1&wait=5", b"", 400),
        ("GET", "/health", b"", 200),
        ("GET", "/ready", b"", 200),
    ] {
        let answer = send(&server, method.parse().unwrap(), path, body).await;
        assert_eq!(
            answer.status, status,
            "{method} {path} {body:?}: {}",
            answer.text
        );
    }
    assert_eq!(server.store().read(|catalog| catalog.services().count()), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_changes_nothing() {
    let server = server();
    let body = format!("{{\"Name\":\"{}\"}}", "x".repeat(600_000));
    let answer = send(&server, Method::PUT, "/v1/agent/service/register", body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.store().read(|catalog| catalog.services().count()), 0);
}

#[tokio::test]
async fn without_the_token_lists_are_empty_and_changes_are_denied() {
    let server = EmbeddedServer::builder(InProcess::default())
        .token("secret")
        .build();
    assert_eq!(
        register(&server, json!({"Name": "web"})).await.status,
        StatusCode::FORBIDDEN
    );
    let with = "/v1/agent/service/register?token=secret";
    assert_eq!(
        put(&server, with, json!({"Name": "web"})).await.status,
        StatusCode::OK
    );
    assert_eq!(
        get(&server, "/v1/health/service/web").await.json(),
        json!([])
    );
    assert_eq!(
        get(&server, "/v1/health/service/web?token=wrong")
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    let found = get(&server, "/v1/health/service/web?token=secret")
        .await
        .json();
    assert_eq!(found[0]["Service"]["ID"], "web");
}

#[tokio::test]
async fn a_session_without_end_is_asked_for_as_such_and_not_by_a_negative_time() {
    let server = server();
    for (ttl, expected) in [
        ("", 200),
        ("0s", 200),
        ("-0s", 200),
        ("10s", 200),
        ("-15s", 500),
        ("9s", 500),
        ("--15s", 500),
        ("25h", 500),
    ] {
        let answer = put(&server, "/v1/session/create", json!({"TTL": ttl})).await;
        assert_eq!(answer.status.as_u16(), expected, "{ttl}: {}", answer.text);
    }
}

#[tokio::test]
async fn probes_are_no_faster_than_one_a_second_and_wait_for_a_minute_at_most() {
    let server = server();
    for (id, target) in [
        ("http", json!({"HTTP": "http://10.0.0.1/"})),
        ("tcp", json!({"TCP": "10.0.0.1:80"})),
    ] {
        let mut check = json!({"CheckID": id, "Name": id, "Interval": "1ns", "Timeout": "1h"});
        check
            .as_object_mut()
            .unwrap()
            .extend(target.as_object().unwrap().clone());
        let answer = put(&server, "/v1/agent/check/register", check).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let checks = get(&server, "/v1/agent/checks").await.json();
    for id in ["http", "tcp"] {
        let Value::Object(definition) = &checks[id]["Definition"] else {
            panic!("{checks}");
        };
        assert_eq!(
            (&definition["Interval"], &definition["Timeout"]),
            (&json!("1s"), &json!("1m0s"))
        );
    }
}

#[tokio::test]
async fn while_a_key_is_locked_out_nobody_gets_its_lock_whatever_the_session() {
    let server = server();
    let session = put(&server, "/v1/session/create", json!({})).await.json();
    let id = session["ID"].as_str().unwrap();
    let lock = format!("/v1/kv/leader?acquire={id}");
    assert_eq!(put(&server, &lock, json!("me")).await.text, "true");
    let destroy = format!("/v1/session/destroy/{id}");
    assert_eq!(put(&server, &destroy, Value::Null).await.text, "true");
    for session in [id, "", "nonsense"] {
        let lock = format!("/v1/kv/leader?acquire={session}");
        let answer = put(&server, &lock, json!("me")).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (StatusCode::OK, "false")
        );
    }
}

#[tokio::test]
async fn a_node_lists_its_services_by_id_or_one_after_the_other_and_filtered() {
    let server = server();
    for name in ["web", "db"] {
        register(&server, json!({"Name": name})).await;
    }
    let node = get(&server, "/v1/catalog/nodes").await.json();
    let name = node[0]["Node"].as_str().unwrap();
    let only_db = "filter=Service%20%3D%3D%20db";
    let by_id = get(&server, &format!("/v1/catalog/node/{name}?{only_db}")).await;
    assert_eq!(by_id.json()["Services"]["db"]["Service"], "db");
    assert_eq!(by_id.json()["Services"].as_object().unwrap().len(), 1);
    let listed = get(
        &server,
        &format!("/v1/catalog/node-services/{name}?{only_db}"),
    )
    .await;
    assert_eq!(listed.json()["Services"][0]["Service"], "db");
    assert_eq!(listed.json()["Node"]["Node"], name);
}
