//! HTTP/2 towards endpoints.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use lb_core::proxy::{ServeOptions, Timeouts, serve_gateway};

use crate::origin2::*;
use crate::support::*;
use crate::tunnels::HANDSHAKE;

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: site.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nup";

#[tokio::test]
async fn a_request_is_translated_and_its_connection_is_shared() {
    let echo = Echo::default();
    let gateway = serve(pool(&[echo.listen().await]).reverse_proxy()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(gateway).await;
        assert_eq!(client.ask(GET).await.status, 200);
        clients.push(client);
    }
    let seen = echo.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 20);
    assert_eq!(seen[0].0, "GET http://site.example/a?b=c");
    assert_eq!(seen[0].1["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen[0].1["x-forwarded-host"], "site.example");
    assert!(!seen[0].1.contains_key("host") && !seen[0].1.contains_key("connection"));
    assert_eq!(echo.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_more_requests_share_a_connection_than_its_endpoint_allows() {
    let echo = Echo::default();
    let pool = pool(&[echo.listen().await]);
    let gateway = serve(pool.reverse_proxy()).await;
    // The first answer brings the endpoint's settings along: 50 at once.
    Client::connect(gateway).await.ask(GET).await;
    let mut clients = Vec::new();
    for count in 1..=70 {
        let mut client = Client::connect(gateway).await;
        client.send("GET /silent HTTP/1.1\r\nHost: h\r\n\r\n").await;
        until("it arrived", || echo.lines().len() == count + 1).await;
        clients.push(client);
    }
    assert_eq!(echo.connections.load(Ordering::SeqCst), 2);
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 70);
    drop(clients);
    until("all are given up", || {
        pool.endpoints()[0].stats().in_flight() == 0
    })
    .await;
}

#[tokio::test]
async fn bodies_and_trailers_come_back_as_they_were_sent() {
    let echo = Echo::default();
    let gateway = serve(pool(&[echo.listen().await]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    assert_eq!(client.ask(POST).await.text(), "up");
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 7\r\ncontent-length: 9\r\n\r\n";
    client.send(chunked).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.text(), answer.complete), ("abcde", true));
    let large = vec![b'x'; 3 << 20];
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    client.send([head.as_bytes(), &large].concat()).await;
    let answer = client.answer().await.unwrap();
    assert!(answer.complete && answer.body == large);
}

#[tokio::test]
async fn trailers_pass_both_hops() {
    let echo = Echo::default();
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    let proxy = pool(&[echo.listen().await]).reverse_proxy();
    let server = serve_gateway(&proxy, &options).unwrap();
    let mut client = crate::http2::connect(server.local_addr()).await;
    let fields = [("x-check", "7"), ("authorization", "none")];
    let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let trailers = http::HeaderMap::from_iter(fields);
    let frames = [
        Ok::<_, std::io::Error>(Frame::data(Bytes::from("up"))),
        Ok(Frame::trailers(trailers)),
    ];
    let request = http::Request::post("http://h/")
        .header("te", "trailers")
        .body(StreamBody::new(crate::http2::stream_of(frames)))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    let answer = answer.into_body().collect().await.unwrap();
    let trailers = answer.trailers().unwrap();
    assert_eq!(
        (trailers.len(), &trailers["x-check"]),
        (1, &"7".parse().unwrap())
    );
    assert_eq!(answer.to_bytes(), "up");
    assert_eq!(echo.seen.lock().unwrap()[0].1["te"], "trailers");
}

#[tokio::test]
async fn a_body_of_known_length_keeps_its_length() {
    let echo = Echo::default();
    let gateway = serve(pool(&[echo.listen().await]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let answer = client.ask("GET /short HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(
        (answer.text(), answer.field("content-length")),
        ("hello", Some("5"))
    );
    let head = client
        .ask("HEAD /short HTTP/1.1\r\nHost: h\r\n\r\nGET /short HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(head.status, 200);
}

// === what was provably not processed ===

/// Two requests: the first warms the connection up, the second is a `POST` that
/// the connection answers with `frames`. Returns the status of the second answer,
/// how many requests the endpoint saw, and how many failures it was charged.
async fn post_after(frames: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> (u16, usize) {
    let (address, count) = scripted(move |connection, stream| match (connection, stream) {
        (1, 3) => frames(stream),
        _ => good(stream),
    })
    .await;
    let gateway = serve(pool(&[format!("h2c://{address}")]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    assert_eq!(client.ask(GET).await.status, 200);
    let answer = client.ask(POST).await;
    (answer.status, count.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_post_that_a_closing_connection_did_not_process_goes_again() {
    // GOAWAY, NO_ERROR: stream 1 is the last that was processed.
    let goaway = |_| frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(post_after(goaway).await, (200, 3));
}

#[tokio::test]
async fn a_post_that_may_have_been_processed_does_not() {
    // The same GOAWAY, which takes stream 3 in; then the connection breaks off
    // with a frame that is too short.
    let broken = |_| {
        let goaway = frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]);
        [goaway, frame(PING, 0, 0, &[0])].concat()
    };
    assert_eq!(post_after(broken).await, (502, 2));
    let internal_error = |stream| frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes());
    assert_eq!(post_after(internal_error).await, (502, 2));
}

#[tokio::test]
async fn a_refused_stream_goes_to_another_endpoint() {
    let refuse = |_, stream| frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes());
    let (refusing, refused) = scripted(refuse).await;
    let (good, seen) = scripted(|_, stream| good(stream)).await;
    let urls = [format!("h2c://{refusing}"), format!("h2c://{good}")];
    let gateway = serve(pool(&urls).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..4 {
        assert_eq!(client.ask(POST).await.status, 200);
    }
    assert!(refused.load(Ordering::SeqCst) >= 1);
    assert_eq!(seen.load(Ordering::SeqCst), 4);
}

// === faults ===

#[tokio::test]
async fn an_answer_that_breaks_off_is_aborted() {
    let cut = |_, stream| {
        let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
        let data = frame(DATA, 0, stream, b"half");
        let reset = frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes());
        [head, data, reset].concat()
    };
    let (address, _) = scripted(cut).await;
    let gateway = serve(pool(&[format!("h2c://{address}")]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    client.send(GET).await;
    let complete = client.answer().await.is_some_and(|answer| answer.complete);
    assert!(!complete, "half an answer looks whole");
}

#[tokio::test]
async fn fields_of_a_connection_make_an_answer_invalid() {
    // `connection: close` as a literal without a name in the table.
    let field = |name: &str, value: &str| {
        let mut block = vec![0x88, 0, u8::try_from(name.len()).unwrap()];
        block.extend(name.as_bytes());
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
        block
    };
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-a", "1\r\nset-cookie: x=1"),
        ("X-Upper", "1"),
    ] {
        let block = field(name, value);
        let (address, _) =
            scripted(move |_, stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))
                .await;
        let gateway = serve(pool(&[format!("h2c://{address}")]).reverse_proxy()).await;
        let answer = Client::connect(gateway).await.ask(GET).await;
        assert_eq!(answer.status, 502, "{name}: {value:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_speaks_http1_instead_is_a_bad_gateway() {
    let origin = Origin::start(|_| Reply::Close(ok("what?")));
    let gateway = serve(pool(&[format!("h2c://{}", origin.address)]).reverse_proxy()).await;
    let answer = Client::connect(gateway).await.ask(GET).await;
    assert_eq!(answer.status, 502);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up_in_time() {
    let (address, _) = scripted(|_, _| Vec::new()).await;
    let timeouts = Timeouts::default().response(Duration::from_millis(200));
    let proxy = pool(&[format!("h2c://{address}")])
        .reverse_proxy()
        .timeouts(timeouts);
    let answer = Client::connect(serve(proxy).await).await.ask(GET).await;
    assert_eq!(answer.status, 504);
}

#[tokio::test]
async fn closing_unused_connections_spares_the_requests_under_way() {
    let echo = Echo::default();
    let pool = pool(&[echo.listen().await]);
    let proxy = pool.reverse_proxy();
    let gateway = serve(proxy.clone()).await;
    let mut slow = Client::connect(gateway).await;
    slow.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
        .await;
    until("it arrived", || !echo.lines().is_empty()).await;
    proxy.close_idle(&pool.endpoints()[0]);
    let mut next = Client::connect(gateway).await;
    assert_eq!(next.ask(GET).await.status, 200);
    assert_eq!(echo.connections.load(Ordering::SeqCst), 2);
    slow.send("cd").await;
    assert_eq!(slow.answer().await.unwrap().text(), "abcd");
}

#[tokio::test]
async fn a_connection_older_than_its_time_is_not_shared() {
    let echo = Echo::default();
    let timeouts = Timeouts::default().idle(Duration::ZERO);
    let proxy = pool(&[echo.listen().await]).reverse_proxy();
    let mut client = Client::connect(serve(proxy.timeouts(timeouts)).await).await;
    for count in 1..=3 {
        assert_eq!(client.ask(GET).await.status, 200);
        assert_eq!(echo.connections.load(Ordering::SeqCst), count);
    }
}

// === tunnels ===

#[tokio::test]
async fn a_websocket_is_an_extended_connect_to_an_endpoint_of_http2() {
    let echo = Echo::default();
    let pool = pool(&[echo.listen().await]);
    let gateway = serve(pool.reverse_proxy()).await;
    for _ in 0..2 {
        let mut client = Client::connect(gateway).await;
        client.send(HANDSHAKE).await;
        let (_, head) = client.answer_as_sent().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{head}"
        );
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        client.send(&bytes).await;
        assert_eq!(client.raw(bytes.len()).await, bytes);
        client.shutdown().await;
        assert!(client.is_closed().await);
    }
    let endpoint = pool.endpoints()[0].clone();
    until("released", || endpoint.stats().in_flight() == 0).await;
    assert_eq!(echo.lines(), ["CONNECT http://h/ws"; 2]);
    assert_eq!(echo.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_endpoint_that_takes_no_tunnels_is_not_asked_for_one() {
    let (address, count) = scripted(|_, stream| good(stream)).await;
    let gateway = serve(pool(&[format!("h2c://{address}")]).reverse_proxy()).await;
    // It also answers no PING, so that waiting for its settings ends by time.
    let mut client = Client::connect(gateway).await;
    client.send(HANDSHAKE).await;
    let status = client.answer().await.unwrap().status;
    assert!((502..=504).contains(&status), "{status}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
