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

/// What `gateway up` says of arguments that cannot be, and how it ends.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("up")
        .args(arguments)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), words)
}

#[test]
fn upstreams_that_cannot_be_are_refused_with_a_reason() {
    let any = ["--listen", "127.0.0.1:0"];
    for (upstreams, reason) in [
        (&["http://"][..], "http://10.0.0.1:8000"),
        (&["http://a:99999"], "http://10.0.0.1:8000"),
        (&["a b"], "http://10.0.0.1:8000"),
        (&["https://a"], "not https"),
        (&["ftp://a"], "not ftp"),
        (&["http://a:1/path"], "keep their own path"),
        (&["http://a:1?x=1"], "keep their own path"),
        (&["http://user:secret@a:1"], "has no user"),
        (&["http://a:1", "http://A:1/"], "named twice"),
        (&["a:1", "http://a:1"], "named twice"),
    ] {
        let (code, words) = refused(&[upstreams, &any].concat());
        assert_eq!(code, Some(1), "{upstreams:?}: {words}");
        assert!(words.contains(reason), "{upstreams:?}: {words}");
    }
    for usage in [
        &[][..],
        &["a", "--listen", "here"],
        &["a", "--health-seconds", "0"],
    ] {
        assert_eq!(refused(usage).0, Some(2), "{usage:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, words) = refused(&["http://127.0.0.1:1", "--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(words.contains(&address), "{words}");
}

#[tokio::test]
async fn it_serves_although_nobody_reads_what_it_says() {
    let (a, _a) = upstream("a").await;
    let authority = format!("127.0.0.1:{}", testkit::port::free());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["up", &a, "--listen", &authority])
        .stdin(std::process::Stdio::null())
        .stdout(writer)
        .spawn()
        .unwrap();
    let words = Vec::new();
    let mut gateway = Process {
        child,
        authority,
        words,
    };
    until_async("it serves", async || {
        let ended = gateway.child.try_wait().unwrap();
        assert_eq!(ended, None, "it has ended");
        let answer = send(&gateway.authority, "GET", "/", "").await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
}
