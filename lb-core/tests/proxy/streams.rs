//! Bodies in both directions.

use std::time::Duration;

use lb_core::proxy::Timeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::*;

#[tokio::test]
async fn a_get_goes_through_and_its_connection_is_used_again() {
    let origin = Origin::saying("hello");
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..3 {
        let answer = client
            .ask("GET /a?b=c HTTP/1.1\r\nHost: site\r\n\r\n")
            .await;
        assert_eq!((answer.status, answer.text()), (200, "hello"));
    }
    let expected = "GET /a?b=c HTTP/1.1\r\nhost: site\r\nx-forwarded-for: 127.0.0.1\r\n\
                    x-forwarded-proto: http\r\nx-forwarded-host: site\r\n\r\n";
    assert_eq!(origin.seen(), [expected; 3]);
}

#[tokio::test]
async fn bodies_of_known_and_unknown_length_arrive_as_they_were_sent() {
    let origin = Origin::saying("ok");
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    client
        .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    client.ask(chunked).await;
    let seen = origin.seen();
    assert!(seen[0].contains("content-length: 5\r\n") && seen[0].ends_with("\r\n\r\nhello"));
    assert!(
        seen[1].contains("transfer-encoding: chunked\r\n"),
        "{}",
        seen[1]
    );
    let bytes: String = seen[1]
        .split("\r\n\r\n")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .skip(1)
        .step_by(2)
        .collect();
    assert_eq!(bytes, "abcde");
}

#[tokio::test]
async fn every_way_to_end_an_answer_reaches_the_client() {
    let origin = Origin::start(|request| {
        let text = String::from_utf8_lossy(request);
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        match text.split(' ').nth(1).unwrap() {
            "/chunked" => Reply::Keep(chunked.into()),
            "/close" => Reply::Close(b"HTTP/1.1 200 OK\r\n\r\nabc".to_vec()),
            "/old" => Reply::Close(b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc".to_vec()),
            "/interim" => {
                let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
                Reply::Keep([early.as_bytes(), &ok("abc")].concat())
            }
            "/none" => {
                Reply::Keep(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n".to_vec())
            }
            _ => Reply::Keep(ok("abc")),
        }
    });
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    for path in ["/length", "/chunked", "/close", "/old", "/interim"] {
        let answer = client
            .ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await;
        assert_eq!(
            (answer.status, answer.text(), answer.complete),
            (200, "abc", true),
            "{path}"
        );
    }
    assert_eq!(
        client
            .ask("GET /none HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .status,
        304
    );
    client
        .send("HEAD /length HTTP/1.1\r\nHost: h\r\n\r\nGET /length HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let head = String::from_utf8(client.raw(40).await).unwrap();
    assert!(
        head.to_lowercase()
            .starts_with("http/1.1 200 ok\r\ncontent-length: 3"),
        "{head}"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    let origin = Origin::start(|request| {
        let short = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let broken = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n";
        let text = String::from_utf8_lossy(request).into_owned();
        Reply::Close(match text.split(' ').nth(1).unwrap() {
            "/short" => short.into(),
            "/chunked" => chunked.into(),
            _ => broken.into(),
        })
    });
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    for path in ["/short", "/chunked", "/broken"] {
        let mut client = Client::connect(gateway).await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await;
        // Aborted within the body, or before the server in front wrote the head.
        let answer = client.answer().await;
        assert!(answer.is_none_or(|answer| !answer.complete), "{path}");
    }
}

#[tokio::test]
async fn an_invalid_answer_is_a_bad_gateway() {
    let origin = Origin::start(|_| {
        Reply::Close(
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd".to_vec(),
        )
    });
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let answer = client
        .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
        .await;
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.text(),
        r#"{"error":"invalid_response","message":"the endpoint sent an invalid answer"}"#
    );
}

#[tokio::test]
async fn a_large_body_passes_in_both_directions() {
    const LENGTH: usize = 8 << 20;
    let origin = Origin::start(|request| {
        let body = &request[find(request, b"\r\n\r\n").unwrap() + 4..];
        assert!(
            body.iter()
                .zip(0_usize..)
                .all(|(byte, at)| *byte == (at % 251) as u8)
        );
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        Reply::Keep([head.as_bytes(), body].concat())
    });
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let body: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
    client
        .send(format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n"
        ))
        .await;
    let answer = client.ask(&body).await;
    assert_eq!((answer.status, answer.complete), (200, true));
    assert!(answer.body == body);
}

#[tokio::test]
async fn the_endpoint_may_refuse_before_the_body_is_sent() {
    let refusal = "HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let count = stream.read(&mut head).await.unwrap();
        assert!(String::from_utf8_lossy(&head[..count]).contains("expect: 100-continue\r\n"));
        stream.write_all(refusal.as_bytes()).await.unwrap();
    });
    let gateway = serve(pool(&[url]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    // The very first status is the endpoint's, not a 100 that asks for the body.
    assert_eq!(client.ask(head).await.status, 401);
}

/// Begins to answer as soon as the head has come, and ends when `*` has come so often.
async fn early(times: usize) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut seen, mut begun) = (Vec::new(), false);
                while stream
                    .read_buf(&mut seen)
                    .await
                    .is_ok_and(|count| count > 0)
                {
                    if !std::mem::replace(&mut begun, true) {
                        let text = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab";
                        stream.write_all(text.as_bytes()).await.unwrap();
                    }
                    if seen.iter().filter(|byte| **byte == b'*').count() == times {
                        stream.write_all(b"cd").await.unwrap();
                    }
                }
            });
        }
    });
    url
}

fn put(length: usize) -> String {
    format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_client_that_stops_during_an_early_answer_is_charged_to_nobody() {
    let pool = pool(&[early(usize::MAX).await]);
    let times = Timeouts::default().body(Duration::from_millis(200));
    let gateway = serve(pool.reverse_proxy().timeouts(times)).await;
    // The control: an endpoint that has got everything is to blame.
    for (length, failures) in [(9, 0), (1, 1)] {
        let mut client = Client::connect(gateway).await;
        client.send(put(length) + "-").await;
        let answer = client.answer().await;
        assert!(answer.is_none_or(|answer| !answer.complete), "{length}");
        let status = || pool.status().endpoints.remove(0);
        until("it is over", || status().in_flight == 0).await;
        assert_eq!(status().failures_total, failures, "{length} bytes");
    }
}

#[tokio::test]
async fn an_upload_that_moves_is_no_stall_of_the_answer() {
    const PIECES: usize = 12;
    let pool = pool(&[early(PIECES).await]);
    // Less than the whole takes, and far more than a piece.
    let times = Timeouts::default().body(Duration::from_secs(1));
    let gateway = serve(pool.reverse_proxy().timeouts(times)).await;
    let mut client = Client::connect(gateway).await;
    client.send(put(PIECES)).await;
    for _ in 0..PIECES {
        let pause = std::future::pending::<()>();
        let pause = tokio::time::timeout(Duration::from_millis(100), pause);
        pause.await.unwrap_err();
        client.send("*").await;
    }
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.text(), answer.complete), ("abcd", true));
}

#[tokio::test]
async fn a_body_that_is_expected_is_asked_for() {
    let origin = Origin::start(|_| {
        Reply::Keep([b"HTTP/1.1 100 Continue\r\n\r\n".as_slice(), &ok("got it")].concat())
    });
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    // This origin speaks only after the whole request: the proxy stops waiting for it.
    client
        .send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .await;
    let interim = client.raw(25).await;
    assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let answer = client.ask("abc").await;
    assert_eq!((answer.status, answer.text()), (200, "got it"));
}

#[tokio::test]
async fn trailers_of_an_answer_reach_a_client_that_wants_them() {
    let origin = Origin::start(|_| {
        Reply::Keep(
            b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
              3\r\nabc\r\n0\r\nx-sum: 42\r\nauthorization: no\r\n\r\n"
                .to_vec(),
        )
    });
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    client
        .send("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: te, close\r\n\r\n")
        .await;
    let mut all = Vec::new();
    while client.more().await.is_some() {}
    all.extend(client.drain());
    let text = String::from_utf8(all).unwrap();
    assert!(text.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{text}");
}
