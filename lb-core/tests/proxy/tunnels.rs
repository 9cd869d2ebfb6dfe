//! WebSocket through the proxy.

use lb_core::{Affinity, Pool};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::*;

pub(crate) const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\r\n";
pub(crate) const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                        upgrade: websocket\r\nsec-websocket-protocol: b\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Answers one handshake with `answer`, then echoes until the end.
pub(crate) async fn echo(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let count = stream.read(&mut head).await.unwrap();
                assert!(head[..count].ends_with(b"\r\n\r\n"), "bytes before the 101");
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.ok();
                write.shutdown().await.ok();
            });
        }
    });
    url
}

#[tokio::test]
async fn bytes_flow_after_the_endpoints_101_and_count_until_the_end() {
    let pool = pool(&[echo(ACCEPTED).await]);
    let proxy = pool.reverse_proxy();
    let gateway = serve(proxy.clone()).await;
    let mut client = Client::connect(gateway).await;
    let answer = client.ask(HANDSHAKE).await;
    assert_eq!(
        (answer.status, answer.field("sec-websocket-protocol")),
        (101, Some("b"))
    );
    assert_eq!(
        answer.field("sec-websocket-accept"),
        Some("s3pplmbitxaq9kygzzhzrbk+xoo=")
    );
    for _ in 0..3 {
        client.send([0x81, 0x05, 0, 255, 13, 10, 13]).await;
        assert_eq!(client.raw(7).await, [0x81, 0x05, 0, 255, 13, 10, 13]);
    }
    let endpoint = pool.endpoints()[0].clone();
    assert_eq!((endpoint.stats().in_flight(), proxy.tunnels()), (1, 1));
    client.shutdown().await;
    assert!(client.is_closed().await);
    until("released", || endpoint.stats().in_flight() == 0).await;
    until("no tunnel", || proxy.tunnels() == 0).await;
}

#[tokio::test]
async fn a_refused_handshake_is_a_plain_answer_and_what_follows_is_a_request() {
    let origin = Origin::saying("no sockets here");
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    client
        .send(format!(
            "{HANDSHAKE}GET /second HTTP/1.1\r\nHost: h\r\n\r\n"
        ))
        .await;
    for _ in 0..2 {
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "no sockets here"));
    }
    assert!(origin.seen()[1].starts_with("GET /second "));
}

#[tokio::test]
async fn an_incomplete_101_opens_nothing() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: x\r\nsec-websocket-protocol: other\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: x\r\nsec-websocket-protocol: a\r\n\r\n",
    ] {
        let gateway = serve(pool(&[echo(answer).await]).reverse_proxy()).await;
        assert_eq!(
            Client::connect(gateway).await.ask(HANDSHAKE).await.status,
            502,
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_101_nobody_asked_for_is_a_bad_gateway() {
    let gateway = serve(pool(&[echo(ACCEPTED).await]).reverse_proxy()).await;
    let answer = Client::connect(gateway)
        .await
        .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(answer.status, 502);
}

#[tokio::test]
async fn handshakes_are_bound_like_any_request() {
    let urls = [
        echo(ACCEPTED).await,
        echo(ACCEPTED).await,
        echo(ACCEPTED).await,
    ];
    let pool = Pool::builder("test")
        .endpoints(urls.iter().map(String::as_str))
        .affinity(Affinity::cookie("lb", "a secret of sixteen bytes"))
        .build()
        .unwrap();
    let gateway = serve(pool.reverse_proxy()).await;
    let mut first = Client::connect(gateway).await;
    first.send(HANDSHAKE).await;
    let (_, head) = first.answer_as_sent().await;
    let cookie = head
        .split("set-cookie: ")
        .nth(1)
        .expect("a binding on the 101");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let handshake = HANDSHAKE.replace("\r\n\r\n", &format!("\r\nCookie: {cookie}\r\n\r\n"));
    let mut tunnels = vec![first];
    for _ in 0..5 {
        let mut client = Client::connect(gateway).await;
        assert_eq!(client.ask(&handshake).await.status, 101);
        tunnels.push(client);
    }
    let counts: Vec<_> = pool
        .endpoints()
        .iter()
        .map(|one| one.stats().in_flight())
        .collect();
    assert!(counts.contains(&6), "all on one endpoint: {counts:?}");
}
