//! Other people's layers around the proxy: compression and security headers by tower-http.

use std::io::Read as _;
use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use lb_core::ReverseProxy;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::support::*;
use crate::tunnels::{ACCEPTED, HANDSHAKE, echo};

const PAGE: &str = "the same words again and again, the same words again and again, the same words";

async fn layered(proxy: ReverseProxy) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let policy = HeaderName::from_static("content-security-policy");
    let policy = SetResponseHeaderLayer::if_not_present(
        policy,
        HeaderValue::from_static("default-src 'self'"),
    );
    let app = Router::new()
        .fallback_service(proxy)
        .layer(CompressionLayer::new())
        .layer(policy);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn saying(fields: &'static str, body: &'static str) -> Origin {
    Origin::start(move |_| {
        let answer = String::from_utf8(ok(body)).unwrap();
        Reply::Keep(answer.replacen("\r\n", &format!("\r\n{fields}"), 1).into())
    })
}

fn get(accept: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accept}\r\n\r\n")
}

#[tokio::test]
async fn text_is_compressed_for_who_asks_for_it() {
    let origin = saying("content-type: text/css\r\n", PAGE);
    let gateway = layered(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let answer = client.ask(get("gzip")).await;
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(answer.field("vary"), Some("accept-encoding"));
    assert_eq!(answer.field("content-length"), None);
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&answer.body[..]);
    decoder.read_to_string(&mut text).unwrap();
    assert_eq!(text, PAGE);
    let plain = client.ask(get("identity")).await;
    assert_eq!(
        (plain.field("content-encoding"), plain.text()),
        (None, PAGE)
    );
}

#[tokio::test]
async fn what_is_encoded_already_and_what_streams_events_passes_untouched() {
    for fields in [
        "content-type: text/css\r\ncontent-encoding: br\r\n",
        "content-type: text/event-stream\r\n",
        "content-type: image/png\r\n",
    ] {
        let origin = saying(fields, PAGE);
        let gateway = layered(pool(&[origin.url()]).reverse_proxy()).await;
        let answer = Client::connect(gateway).await.ask(get("gzip")).await;
        assert_ne!(answer.field("content-encoding"), Some("gzip"), "{fields}");
        assert_eq!(answer.text(), PAGE);
    }
}

#[tokio::test]
async fn a_security_header_is_added_where_the_endpoint_has_none() {
    for (fields, expected) in [
        ("", "default-src 'self'"),
        (
            "content-security-policy: default-src 'none'\r\n",
            "default-src 'none'",
        ),
    ] {
        let origin = saying(fields, PAGE);
        let gateway = layered(pool(&[origin.url()]).reverse_proxy()).await;
        let answer = Client::connect(gateway).await.ask(get("identity")).await;
        assert_eq!(answer.field("content-security-policy"), Some(expected));
    }
}

#[tokio::test]
async fn a_websocket_passes_through_the_layers() {
    let gateway = layered(pool(&[echo(ACCEPTED).await]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    assert_eq!(client.ask(HANDSHAKE).await.status, 101);
    client.send(b"\x81\x02hi").await;
    assert_eq!(client.raw(4).await, b"\x81\x02hi");
}
