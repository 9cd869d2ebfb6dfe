//! `gateway up`: upstreams nobody prepared for it.

use crate::support::{Process, send, until_async};
use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::task::JoinHandle;

/// An upstream that says its name and echoes WebSocket messages.
async fn upstream(name: &'static str) -> (String, JoinHandle<()>) {
    let echo = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(Message::Text(text))) = socket.recv().await {
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
        })
    };
    let app = Router::new()
        .route("/", get(move || async move { name }))
        .route("/echo", get(echo));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, task)
}

async fn names(gateway: &Process, requests: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..requests {
        let answer = gateway.send("GET", "/", "").await;
        assert!(answer.status().is_success(), "{}", answer.status());
        names.push(String::from_utf8_lossy(answer.body()).into_owned());
    }
    names
}

#[tokio::test]
async fn two_urls_are_all_it_needs() {
    let (a, _a) = upstream("a").await;
    let (b, b_task) = upstream("b").await;
    let (a, b) = (format!("http://{a}"), format!("http://{b}/"));
    let arguments = [
        "up",
        &a,
        &b,
        "--listen",
        "127.0.0.1:0",
        "--health-seconds",
        "1",
    ];
    let gateway = Process::start(&arguments, 2);

    let both = names(&gateway, 20).await;
    assert!(
        both.contains(&"a".into()) && both.contains(&"b".into()),
        "{both:?}"
    );

    let echo = format!("ws://{}/echo", gateway.authority);
    let (mut socket, _) = tokio_tungstenite::connect_async(echo).await.unwrap();
    socket.send("hello".into()).await.unwrap();
    assert_eq!(
        socket
            .next()
            .await
            .unwrap()
            .unwrap()
            .into_text()
            .unwrap()
            .as_str(),
        "hello"
    );

    b_task.abort();
    assert!(
        names(&gateway, 20).await.iter().all(|name| name == "a"),
        "nobody notices the loss"
    );
    let page = gateway.words[1]
        .split_once("http://")
        .unwrap()
        .1
        .trim_end_matches('/')
        .to_owned();
    until_async("b is seen to be down", async || {
        let status = send(&page, "GET", "/status", "").await.unwrap();
        let status: serde_json::Value = serde_json::from_slice(status.body()).unwrap();
        let down = status["pool"]["endpoints"].as_array()?.iter();
        (down.filter(|one| one["state"] == "down").count() == 1).then_some(())
    })
    .await;
    let metrics = send(&page, "GET", "/metrics", "").await.unwrap();
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    assert!(metrics.contains("lb_endpoints{pool=\"up\"} 2"), "{metrics}");
    let html = send(&page, "GET", "/", "").await.unwrap();
    assert!(
        html.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
}

#[tokio::test]
async fn an_upstream_that_is_no_address_is_refused_with_an_example() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["up", "http://", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("http://10.0.0.1:8000"), "{words}");
}
