//! A gateway in front, origins behind that share no line with the crate.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use lb_core::{Pool, ReverseProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Everything in a test is over long before.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What an origin does with the request it read.
pub(crate) enum Reply {
    /// Writes these bytes and reads the next request.
    Keep(Vec<u8>),
    /// Writes these bytes and closes.
    Close(Vec<u8>),
    /// Never answers; ends when the proxy leaves.
    Silence,
}

/// A server that records every byte of every request it was sent.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Origin {
    /// Answers each request with what `reply` makes of its bytes.
    pub(crate) fn start(reply: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), reply)
    }

    /// The same on this socket.
    pub(crate) fn on(
        listener: std::net::TcpListener,
        reply: impl Fn(&[u8]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&requests), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                std::thread::spawn(move || converse(stream, &seen, &*reply));
            }
        });
        Self { address, requests }
    }

    /// Answers every request with 200 and this text.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::start(move |_| Reply::Keep(ok(text)))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, as text.
    pub(crate) fn seen(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }
}

pub(crate) fn ok(text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

fn converse(
    mut stream: std::net::TcpStream,
    seen: &Mutex<Vec<Vec<u8>>>,
    reply: &dyn Fn(&[u8]) -> Reply,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer) {
        let answer = reply(&request);
        seen.lock().unwrap().push(request);
        match answer {
            Reply::Keep(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Reply::Close(bytes) => {
                stream.write_all(&bytes).ok();
                return;
            }
            Reply::Silence => {
                stream.read_to_end(&mut Vec::new()).ok();
                return;
            }
        }
    }
}

/// One request off the front of the stream; `None` at its end.
fn read_request(stream: &mut std::net::TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(length) = request_length(buffer) {
            return Some(buffer.drain(..length).collect());
        }
        let mut piece = [0; 16 << 10];
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        buffer.extend_from_slice(&piece[..count]);
    }
}

/// Length of the whole request at the start of `bytes`, once it is there.
pub(crate) fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked\r\n") {
        let body = &bytes[head..];
        if body.starts_with(b"0\r\n\r\n") {
            return Some(head + 5);
        }
        let last = find(body, b"\r\n0\r\n")? + 5;
        return Some(head + last + find(&body[last - 2..], b"\r\n\r\n")? + 2);
    }
    let length = text.split("\r\ncontent-length: ").nth(1).map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().parse().unwrap()
    });
    (bytes.len() >= head + length).then_some(head + length)
}

pub(crate) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A pool over these addresses, taken in turn.
pub(crate) fn pool(urls: &[String]) -> Pool {
    let builder = Pool::builder("test").endpoints(urls.iter().map(String::as_str));
    builder
        .policy(lb_core::policy::RoundRobin::default())
        .build()
        .unwrap()
}

/// Serves `proxy` as an axum user would.
pub(crate) async fn serve(proxy: ReverseProxy) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = proxy.peer(|extensions| {
        extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0)
    });
    let app = Router::new().fallback_service(proxy);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Serves a clone, so that changes of `proxy` reach it.
pub(crate) async fn serve_shared(proxy: &ReverseProxy) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback_service(proxy.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A connection to the gateway that speaks raw bytes.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer as it was read off the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Head in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The whole body came.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head
            .split("\r\n")
            .find_map(|line| line.strip_prefix(start.as_str()))
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).await;
        self.answer().await.expect("an answer")
    }

    /// The next answer; `None` if the gateway closed before its head was complete.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break self.buffer.drain(..end + 4).collect::<Vec<_>>();
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            complete: true,
        };
        if status < 200 || status == 204 || status == 304 {
            return Some(answer);
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            answer.complete = self.chunks(&mut answer.body).await.is_some();
        } else if let Some(length) = answer.field("content-length") {
            let length = length.parse().unwrap();
            answer.complete = self.fill(length).await.is_some();
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else {
            while self.more().await.is_some() {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        Some(answer)
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let end = loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    break end;
                }
                self.more().await?;
            };
            let size = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            let size = usize::from_str_radix(&size, 16).unwrap();
            self.fill(end + 2 + size + 2).await?;
            body.extend_from_slice(&self.buffer[end + 2..end + 2 + size]);
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                return Some(());
            }
        }
    }

    async fn fill(&mut self, length: usize) -> Option<()> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(())
    }

    /// Reads once more; `None` at the end of the stream.
    pub(crate) async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.buffer);
        let count = tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the gateway hangs");
        count.ok().filter(|count| *count > 0).map(|_| ())
    }

    /// `true` when the gateway closes without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.more().await.is_none()
    }

    /// Whatever raw bytes come next.
    pub(crate) async fn raw(&mut self, length: usize) -> Vec<u8> {
        self.fill(length).await.expect("more bytes");
        self.buffer.drain(..length).collect()
    }

    pub(crate) async fn shutdown(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

impl Client {
    /// Everything that was read and not looked at.
    pub(crate) fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

impl Client {
    /// Body and head of one answer, the head in its own case.
    pub(crate) async fn answer_as_sent(&mut self) -> (String, String) {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await.expect("a head");
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let answer = self.answer().await.expect("an answer");
        (answer.text().to_owned(), head)
    }
}

impl Client {
    /// Sends bytes that the gateway may refuse before it read them all.
    pub(crate) async fn send_or_reset(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// Ends this side, if the other has not ended both.
    pub(crate) async fn end(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// `true` when nothing was read, nothing comes for a moment, and `rest` holds.
    pub(crate) async fn is_silent_while(&mut self, rest: impl Fn() -> bool) -> bool {
        const MOMENT: Duration = Duration::from_millis(20);
        while self.buffer.is_empty() {
            let readable = self.stream.readable();
            if tokio::time::timeout(MOMENT, readable).await.is_ok() {
                return false;
            }
            if rest() {
                return true;
            }
        }
        false
    }
}
