//! Origins that speak HTTP/2: hyper's, and one that writes frames by hand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Hyper's server, which sends bodies and trailers back and tells what it saw.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    /// Connections so far.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Requests so far: method, target and fields.
    pub(crate) seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Echo {
    /// Listens without encryption.
    pub(crate) async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("h2c://{}", listener.local_addr().unwrap());
        let echo = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo.clone().serve(stream));
            }
        });
        url
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let answer = service_fn(move |request| {
            let echo = self.clone();
            async move { Ok::<_, Infallible>(echo.answer(request)) }
        });
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.enable_connect_protocol().max_concurrent_streams(50);
        let served = server.serve_connection(TokioIo::new(stream), answer);
        // The proxy may leave at any time.
        served.await.ok();
    }

    pub(crate) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Response<BoxBody<Bytes, hyper::Error>> {
        let line = format!("{} {}", request.method(), request.uri());
        let fields = request.headers().clone();
        let silent = request.uri().path() == "/silent";
        self.seen.lock().unwrap().push((line, fields));
        if request.method() == http::Method::CONNECT {
            tokio::spawn(echo_tunnel(request));
            return Response::new(Empty::new().map_err(|never| match never {}).boxed());
        }
        if silent {
            let body = http_body_util::StreamBody::new(Never);
            return Response::new(BoxBody::new(body));
        }
        if request.uri().path() == "/short" {
            let body = Full::new(Bytes::from("hello")).map_err(|never| match never {});
            return Response::new(body.boxed());
        }
        Response::new(request.into_body().boxed())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(line, _)| line.clone()).collect()
    }
}

/// A body that never comes.
struct Never;

impl futures_core::Stream for Never {
    type Item = Result<hyper::body::Frame<Bytes>, hyper::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

async fn echo_tunnel(request: Request<Incoming>) {
    let tunnel = hyper::upgrade::on(request).await.unwrap();
    let (mut read, mut write) = tokio::io::split(TokioIo::new(tunnel));
    tokio::io::copy(&mut read, &mut write).await.ok();
    write.shutdown().await.ok();
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `:status: 200` and nothing else, as the whole answer to a request.
pub(crate) fn good(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])
}

/// Answers each request, by the number of its connection and of its stream, with
/// the frames that `reply` makes. Returns the address and counts requests.
pub(crate) async fn scripted(
    reply: impl Fn(usize, u32) -> Vec<u8> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reply, count) = (Arc::new(reply), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&count);
    tokio::spawn(async move {
        for connection in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (reply, seen) = (Arc::clone(&reply), Arc::clone(&seen));
            tokio::spawn(async move {
                converse(stream, &seen, |id| reply(connection, id)).await;
            });
        }
    });
    (address, count)
}

/// Ends with the connection.
async fn converse(
    mut stream: TcpStream,
    seen: &AtomicUsize,
    reply: impl Fn(u32) -> Vec<u8>,
) -> Option<()> {
    stream.read_exact(&mut [0; 24]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == SETTINGS && head[4] == 0 {
            stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?;
        }
        if head[3] == HEADERS {
            seen.fetch_add(1, Ordering::SeqCst);
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            stream.write_all(&reply(id)).await.ok()?;
        }
    }
}
