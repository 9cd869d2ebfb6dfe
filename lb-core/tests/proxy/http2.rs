//! HTTP/2 from clients: translation, tunnels, and frames no library would send.
//! The names of the hostile cases begin with the section of RFC 9113.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Version};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lb_core::proxy::{GatewayServer, ServeOptions, serve_gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::origin2::*;
use crate::support::*;

fn gateway(urls: &[String]) -> GatewayServer {
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    serve_gateway(&pool(urls).reverse_proxy(), &options).unwrap()
}

pub(crate) async fn connect<B>(address: SocketAddr) -> http2::SendRequest<B>
where
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync>
        + Send
        + Unpin
        + 'static,
{
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn a_request_is_translated_with_its_authority_and_its_cookies() {
    let origin = Origin::saying("hello");
    let server = gateway(&[origin.url()]);
    let mut client = connect(server.local_addr()).await;
    let request = Request::get("http://site.example/a?b=c").version(Version::HTTP_2);
    let request = request.header("cookie", "a=1").header("cookie", "b=2");
    let answer = client
        .send_request(request.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    assert_eq!(
        origin.seen(),
        [
            "GET /a?b=c HTTP/1.1\r\nhost: site.example\r\ncookie: a=1; b=2\r\nx-forwarded-for: 127.0.0.1\r\n\
          x-forwarded-proto: http\r\nx-forwarded-host: site.example\r\n\r\n"
        ]
    );
}

#[tokio::test]
async fn bodies_and_trailers_pass_in_both_directions() {
    let origin = Origin::start(|_| {
        Reply::Keep(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n".to_vec(),
        )
    });
    let server = gateway(&[origin.url()]);
    let mut client = connect(server.local_addr()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", "7".parse().unwrap());
    trailers.insert("content-length", "99".parse().unwrap());
    let frames = [
        Ok::<_, std::io::Error>(Frame::data(Bytes::from("up"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(stream_of(frames));
    let request = Request::post("http://h/")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let answer = client
        .send_request(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(answer.trailers().unwrap()["x-sum"], "42");
    assert_eq!(answer.to_bytes(), "abc");
    let seen = origin.seen();
    assert!(
        seen[0].ends_with("transfer-encoding: chunked\r\n\r\n2\r\nup\r\n0\r\nx-check: 7\r\n\r\n"),
        "{}",
        seen[0]
    );
}

/// The frames as a stream that is always ready.
pub(crate) fn stream_of<T: Unpin>(
    items: impl IntoIterator<Item = T>,
) -> impl futures_core::Stream<Item = T> + Unpin {
    struct Ready<I>(I);
    impl<I: Iterator + Unpin> futures_core::Stream for Ready<I> {
        type Item = I::Item;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Ready(items.into_iter().collect::<Vec<_>>().into_iter())
}

#[tokio::test]
async fn a_websocket_over_http2_is_tunnelled_to_http1() {
    let url = crate::tunnels::echo(crate::tunnels::ACCEPTED).await;
    let server = gateway(&[url]);
    let mut client = connect::<Empty<Bytes>>(server.local_addr()).await;
    // The server's settings must be known before a client may ask for this.
    let warm = Request::trace("http://h/").body(Empty::new()).unwrap();
    assert_eq!(client.send_request(warm).await.unwrap().status(), 405);
    let mut request = Request::connect("http://h/ws").body(Empty::new()).unwrap();
    request
        .extensions_mut()
        .insert(hyper::ext::Protocol::from_static("websocket"));
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "b".parse().unwrap());
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "b");
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    tunnel.write_all(b"\x81\x02hi").await.unwrap();
    let mut echo = [0; 4];
    tunnel.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x02hi");
}

#[tokio::test]
async fn connect_without_a_protocol_is_refused() {
    let origin = Origin::saying("never");
    let server = gateway(&[origin.url()]);
    let mut client = connect(server.local_addr()).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("h:80")
        .body(Full::<Bytes>::default());
    assert_eq!(
        client
            .send_request(request.unwrap())
            .await
            .unwrap()
            .status(),
        405
    );
    assert!(origin.seen().is_empty());
}

// === frames by hand ===

/// A block of fields: the four of a request to `/`, then these.
fn block(method: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![method, 0x84, 0x86, 0x41, 1, b'h'];
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// A connection that speaks frames.
struct Raw(TcpStream);

impl Raw {
    async fn connect(server: &GatewayServer) -> Self {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self(stream)
    }

    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The next frame: kind, stream and payload. `None` at the end.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((
                head[3],
                u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            ))
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the gateway hangs")
    }

    /// Reads until one of these frames comes; `None` if the connection ends first.
    async fn until(&mut self, kinds: &[u8]) -> Option<(u8, Vec<u8>)> {
        while let Some((kind, _, payload)) = self.next().await {
            if kinds.contains(&kind) {
                return Some((kind, payload));
            }
        }
        None
    }
}

/// A malformed request ends its stream, reaches nobody, and the connection goes on.
async fn is_refused(name: &str, first: Vec<u8>, rest: &[Vec<u8>]) {
    let origin = Origin::saying("ok");
    let server = gateway(&[origin.url()]);
    let mut raw = Raw::connect(&server).await;
    let flags = if rest.is_empty() {
        END_HEADERS | END_STREAM
    } else {
        END_HEADERS
    };
    raw.send(&frame(HEADERS, flags, 1, &first)).await;
    for bytes in rest {
        raw.send(bytes).await;
    }
    let answer = raw.until(&[RST_STREAM, GOAWAY, HEADERS]).await;
    let (kind, payload) = answer.unwrap_or((GOAWAY, Vec::new()));
    // 0x88 is `:status: 200`, the first field of a good answer.
    assert!(
        kind != HEADERS || payload[0] != 0x88,
        "{name}: answered with 200"
    );
    assert!(origin.seen().is_empty(), "{name}: {:?}", origin.seen());
}

#[tokio::test]
async fn s8_2_2_fields_of_a_connection_are_refused() {
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "x"),
        ("upgrade", "websocket"),
    ] {
        is_refused(name, block(GET, &[(name, value)]), &[]).await;
    }
}

#[tokio::test]
async fn s8_2_1_names_and_values_that_would_split_a_request_are_refused() {
    for (name, value) in [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\nx-b: 2"),
        ("x-a", "1\0"),
        ("x-a\r\nx-b", "1"),
        ("X-Upper", "1"),
        ("x a", "1"),
        ("x-a:", "1"),
        ("", "1"),
    ] {
        is_refused(
            &format!("{name:?}: {value:?}"),
            block(GET, &[(name, value)]),
            &[],
        )
        .await;
    }
}

#[tokio::test]
async fn s8_3_pseudo_fields_out_of_place_are_refused() {
    for fields in [
        [(":path", "/two"), ("x-a", "1")],
        [("x-a", "1"), (":authority", "late")],
        [(":unknown", "1"), ("x-a", "1")],
        [(":status", "200"), ("x-a", "1")],
    ] {
        is_refused(&format!("{fields:?}"), block(GET, &fields), &[]).await;
    }
    // No path at all.
    is_refused("no path", vec![GET, 0x86, 0x41, 1, b'h'], &[]).await;
}

#[tokio::test]
async fn s8_3_1_a_host_that_differs_from_the_authority_does_not_win() {
    let origin = Origin::saying("ok");
    let server = gateway(&[origin.url()]);
    let mut raw = Raw::connect(&server).await;
    let flags = END_HEADERS | END_STREAM;
    raw.send(&frame(HEADERS, flags, 1, &block(GET, &[("host", "other")])))
        .await;
    raw.until(&[HEADERS, RST_STREAM]).await;
    for request in origin.seen() {
        assert!(
            request.contains("\r\nhost: h\r\n") && !request.contains("other"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn s8_1_1_a_length_that_the_frames_contradict_is_refused() {
    let short = block(POST, &[("content-length", "10")]);
    is_refused("short", short, &[frame(DATA, END_STREAM, 1, b"abc")]).await;
    let long = block(POST, &[("content-length", "1")]);
    is_refused("long", long, &[frame(DATA, END_STREAM, 1, b"abc")]).await;
    let twice = block(POST, &[("content-length", "3"), ("content-length", "4")]);
    is_refused("twice", twice, &[frame(DATA, END_STREAM, 1, b"abc")]).await;
}

#[tokio::test]
async fn s6_9_a_body_in_single_bytes_arrives_whole() {
    let origin = Origin::saying("ok");
    let server = gateway(&[origin.url()]);
    let mut raw = Raw::connect(&server).await;
    raw.send(&frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(POST, &[("content-length", "200")]),
    ))
    .await;
    for _ in 0..200 {
        raw.send(&frame(DATA, 0, 1, b"x")).await;
    }
    raw.send(&frame(DATA, END_STREAM, 1, b"")).await;
    assert_eq!(raw.until(&[HEADERS]).await.unwrap().1[0], 0x88);
    assert!(origin.seen()[0].ends_with(&"x".repeat(200)));
}

/// Floods until the connection is refused; another client is still served.
async fn flood(name: &str, make: impl Fn(u32) -> Vec<u8> + Send + 'static) {
    let origin = Origin::saying("ok");
    let server = gateway(&[origin.url()]);
    let Raw(stream) = Raw::connect(&server).await;
    let (read, mut write) = stream.into_split();
    let sender = tokio::spawn(async move {
        for count in 0..20_000 {
            if write.write_all(&make(count)).await.is_err() {
                return false;
            }
        }
        true
    });
    let mut all = Vec::new();
    let mut read = read.take(8 << 20);
    let limit = tokio::time::timeout(PATIENCE, read.read_to_end(&mut all));
    assert!(limit.await.is_ok(), "{name}: the connection stays open");
    assert!(!sender.await.unwrap() || !all.is_empty(), "{name}");
    let answer = Client::connect(server.local_addr())
        .await
        .ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(answer.status, 200, "{name}: others are served");
    assert!(
        origin.seen().len() < 5_000,
        "{name}: {} requests came through",
        origin.seen().len()
    );
}

#[tokio::test]
async fn s10_5_rapid_reset_ends_the_connection() {
    flood("rapid reset", |count| {
        let stream = count * 2 + 1;
        let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(GET, &[]));
        [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    })
    .await;
}

#[tokio::test]
async fn s10_5_a_flood_of_continuations_ends_the_connection() {
    flood("continuations", |count| {
        let kind = if count == 0 { HEADERS } else { CONTINUATION };
        frame(
            kind,
            0,
            1,
            &block(GET, &[("x-a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")])
                [if count == 0 { 0 } else { 6 }..],
        )
    })
    .await;
}

#[tokio::test]
async fn s10_5_a_flood_of_settings_or_pings_costs_others_nothing() {
    for (name, kind, payload) in [
        ("settings", SETTINGS, &[][..]),
        ("pings", PING, &[0; 8][..]),
    ] {
        let origin = Origin::saying("ok");
        let server = gateway(&[origin.url()]);
        let mut raw = Raw::connect(&server).await;
        let many = frame(kind, 0, 0, payload).repeat(1_000);
        let (mut sent, mut open) = (0, true);
        // This client never reads: the gateway must not buffer replies without end.
        while open && sent < 100 {
            let write =
                tokio::time::timeout(std::time::Duration::from_millis(200), raw.send(&many));
            open = write.await.unwrap_or(false);
            sent += 1;
        }
        let answer = Client::connect(server.local_addr())
            .await
            .ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await;
        assert_eq!(answer.status, 200, "{name}");
    }
}
