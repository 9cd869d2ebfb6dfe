//! The reverse proxy beside nginx and HAProxy, and between real peers.
//!
//! `cargo test -p tests --test lb_core_proxy -- --nocapture` prints the table of three.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../../../lb-core/tests/proxy/corpus.rs"]
mod corpus;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use corpus::{Case, Expect, cases};
use futures_util::{SinkExt as _, StreamExt as _};
use lb_core::Pool;
use lb_core::proxy::{GatewayServer, ServeOptions, Timeouts, serve_gateway};
use testkit::memory::resident_bytes;
use testkit::{Program, Ready, Server, port};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

const GIB: u64 = 1 << 30;

/// Our gateway in front of one address.
fn ours(origin: &str) -> GatewayServer {
    let pool = Pool::builder("tests")
        .endpoints([format!("http://{origin}")])
        .build()
        .unwrap();
    let impatient = Timeouts::default().body(Duration::from_secs(2));
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    serve_gateway(&pool.reverse_proxy().timeouts(impatient), &options).unwrap()
}

// === the table of three ===

/// An origin that counts requests and answers each with a short 200.
struct Origin {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, requests) = (
            listener.local_addr().unwrap(),
            Arc::new(AtomicUsize::new(0)),
        );
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                thread::spawn(move || answer_all(stream, &seen));
            }
        });
        Self { address, requests }
    }
}

fn answer_all(mut stream: TcpStream, seen: &AtomicUsize) {
    let (mut buffer, mut piece) = (Vec::new(), [0; 64 << 10]);
    loop {
        while let Some(length) = whole_request(&buffer) {
            buffer.drain(..length);
            seen.fetch_add(1, Ordering::SeqCst);
            if stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .is_err()
            {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
}

/// Length of the whole request at the front, by the simplest reading there is.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let find = |from: usize, part: &[u8]| {
        bytes[from..]
            .windows(part.len())
            .position(|window| window == part)
            .map(|at| from + at)
    };
    let head = find(0, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked\r\n") {
        let last = if bytes[head..].starts_with(b"0\r\n") {
            head
        } else {
            find(head, b"\r\n0\r\n")? + 2
        };
        return Some(find(last, b"\r\n\r\n")? + 4);
    }
    let length = text.split("\r\ncontent-length:").nth(1).map_or(0, |rest| {
        rest.split("\r\n")
            .next()
            .unwrap()
            .trim()
            .parse()
            .unwrap_or(0)
    });
    (bytes.len() >= head + length).then_some(head + length)
}

/// First status and number of requests that reached the origin.
fn try_case(gateway: SocketAddr, origin: &Origin, case: &Case) -> (Option<u16>, usize) {
    origin.requests.store(0, Ordering::SeqCst);
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(400)))
        .unwrap();
    stream.write_all(&case.bytes).ok();
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count) = stream.read(&mut piece) {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..count]);
    }
    let status = answer
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    (status, origin.requests.load(Ordering::SeqCst))
}

fn nginx(origin: SocketAddr, folder: &Path) -> (Server, SocketAddr) {
    let port = port::free();
    let at = folder.display();
    let text = format!(
        "daemon off; master_process off; pid {at}/pid; error_log /dev/null; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; upstream o {{ server {origin}; keepalive 8; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://o; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; }} }} }}\n"
    );
    started("nginx", "nginx", folder, &text, port, |path| {
        vec![
            "-p".into(),
            at.to_string(),
            "-e".into(),
            "/dev/null".into(),
            "-c".into(),
            path,
        ]
    })
}

fn haproxy(origin: SocketAddr, folder: &Path) -> (Server, SocketAddr) {
    let port = port::free();
    let text = format!(
        "global\n maxconn 100\ndefaults\n mode http\n timeout client 2s\n timeout server 2s\n timeout connect 2s\n\
         listen l\n bind 127.0.0.1:{port}\n server s {origin}\n"
    );
    started("haproxy", "haproxy", folder, &text, port, |path| {
        vec!["-db".into(), "-q".into(), "-f".into(), path]
    })
}

fn started(
    program: &str,
    package: &str,
    folder: &Path,
    config: &str,
    port: u16,
    args: impl FnOnce(String) -> Vec<String>,
) -> (Server, SocketAddr) {
    let path = folder.join(format!("{program}.conf"));
    std::fs::write(&path, config).unwrap();
    let server = Server::of(&Program::new(program, package))
        .args(args(path.display().to_string()))
        .ready(Ready::Tcp { port })
        .start()
        .unwrap_or_else(|error| panic!("{error}"));
    (server, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[test]
fn what_nginx_and_haproxy_both_refuse_is_refused_here() {
    let folder = tempfile::tempdir().unwrap();
    let origins = [Origin::start(), Origin::start(), Origin::start()];
    let server = ours(&origins[0].address.to_string());
    let (_nginx, second) = nginx(origins[1].address, folder.path());
    let (_haproxy, third) = haproxy(origins[2].address, folder.path());
    let gateways = [server.local_addr(), second, third];
    let show = |(status, count): (Option<u16>, usize)| {
        let status = status.map_or_else(|| "closed".to_owned(), |status| status.to_string());
        if count > 0 {
            format!("{status}, {count} forwarded")
        } else {
            status
        }
    };
    let mut softer = Vec::new();
    println!("| case | ours | nginx | HAProxy |\n|---|---|---|---|");
    for case in cases() {
        let [own, nginx, haproxy] =
            [0, 1, 2].map(|which| try_case(gateways[which], &origins[which], &case));
        println!(
            "| {} | {} | {} | {} |",
            case.name,
            show(own),
            show(nginx),
            show(haproxy)
        );
        if own.1 > 0 && nginx.1 == 0 && haproxy.1 == 0 {
            softer.push(case.name);
        }
        if matches!(case.expect, Expect::Refused(_)) {
            assert_eq!(own.1, 0, "{}", case.name);
        }
        assert!(
            !own.0.is_some_and(|status| (502..=504).contains(&status)),
            "{}",
            case.name
        );
    }
    assert!(softer.is_empty(), "softer than both: {softer:?}");
}

// === large transfers ===

/// Takes any body, counts it, and sends a GiB for every GET.
fn mass_origin(received: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut piece = vec![0; 256 << 10];
            let count = stream.read(&mut piece).unwrap();
            let text = String::from_utf8_lossy(&piece[..count]).into_owned();
            let head = text.find("\r\n\r\n").unwrap() + 4;
            if text.starts_with("GET") {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n").unwrap();
                let zeros = vec![0; 1 << 20];
                (0..GIB >> 20)
                    .try_for_each(|_| stream.write_all(&zeros))
                    .ok();
                continue;
            }
            received.fetch_add((count - head) as u64, Ordering::SeqCst);
            while received.load(Ordering::SeqCst) < GIB {
                let count = stream.read(&mut piece).unwrap();
                assert!(count > 0, "the upload broke off");
                received.fetch_add(count as u64, Ordering::SeqCst);
            }
            stream
                .write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
        }
    });
    address
}

fn curl(arguments: &[&str]) -> String {
    let path = Program::new("curl", "curl")
        .find()
        .unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(path)
        .args(["-sS", "--max-time", "80"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_gibibyte_passes_in_both_directions_with_flat_memory() {
    let received = Arc::new(AtomicU64::new(0));
    let server = ours(&mass_origin(Arc::clone(&received)).to_string());
    let url = format!("http://{}/large", server.local_addr());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    File::create(&path).unwrap().set_len(GIB).unwrap();
    let before = resident_bytes(std::process::id());
    let down = curl(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{size_download}",
        &url,
    ]);
    assert_eq!(down, format!("200 {GIB}"));
    let up = curl(&["-T", path.to_str().unwrap(), "-w", "%{http_code}", &url]);
    assert_eq!(up, "201");
    assert_eq!(received.load(Ordering::SeqCst), GIB);
    let grown = resident_bytes(std::process::id()).saturating_sub(before);
    assert!(grown < 16 << 20, "grew by {grown} bytes");
}

#[test]
fn curl_is_served_over_both_versions_from_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start();
    let (_nginx, behind) = nginx(origin.address, folder.path());
    let server = ours(&behind.to_string());
    let url = format!("http://{}/", server.local_addr());
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        let seen = curl(&[
            version,
            "-d",
            "a=1",
            "-w",
            " %{http_code} %{http_version}",
            &url,
        ]);
        assert!(seen.starts_with("ok 200"), "{version}: {seen}");
    }
    assert_eq!(origin.requests.load(Ordering::SeqCst), 3);
}

// === WebSocket between two libraries ===

/// A WebSocket server that echoes, chooses `second` if offered, and closes with
/// code 4001 on the text "bye".
async fn echo() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                #[expect(clippy::result_large_err, reason = "the library's own signature")]
                let choose = |request: &http::Request<()>, mut answer: http::Response<()>| {
                    let offers = request.headers().get("sec-websocket-protocol");
                    if offers.is_some_and(|offers| offers.to_str().unwrap().contains("second")) {
                        answer
                            .headers_mut()
                            .insert("sec-websocket-protocol", "second".parse().unwrap());
                    }
                    Ok(answer)
                };
                let mut socket =
                    tokio_tungstenite::accept_hdr_async_with_config(stream, choose, Some(large()))
                        .await
                        .unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message == Message::text("bye") {
                        let frame = CloseFrame {
                            code: CloseCode::Library(4001),
                            reason: "as asked".into(),
                        };
                        socket.close(Some(frame)).await.ok();
                    } else if !message.is_close() && !message.is_ping() && !message.is_pong() {
                        socket.send(message).await.ok();
                    }
                }
            });
        }
    });
    address
}

fn large() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(64 << 20))
        .max_frame_size(Some(64 << 20))
}

#[tokio::test]
async fn websocket_libraries_do_not_notice_the_proxy() {
    let server = ours(&echo().await.to_string());
    let mut request = format!("ws://{}/ws", server.local_addr())
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "first, second".parse().unwrap());
    let (mut socket, answer) =
        tokio_tungstenite::connect_async_with_config(request, Some(large()), false)
            .await
            .unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "second");
    for message in [
        Message::text("grüß dich"),
        Message::binary(vec![0, 255, 13, 10]),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::Pong("are you there".into())
    );
    let big = Message::binary(vec![7; 16 << 20]);
    socket.send(big.clone()).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap() == big);
    socket.send(Message::text("bye")).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("no close frame")
    };
    assert_eq!(
        (u16::from(frame.code), frame.reason.as_str()),
        (4001, "as asked")
    );
}

#[tokio::test]
async fn a_slow_websocket_reader_gets_every_message_in_order() {
    let server = ours(&echo().await.to_string());
    let url = format!("ws://{}/ws", server.local_addr());
    let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let (mut sink, mut stream) = socket.split();
    let sender = tokio::spawn(async move {
        for number in 0..2_000_u32 {
            sink.send(Message::text(format!("{number} {}", "x".repeat(4 << 10))))
                .await
                .unwrap();
        }
        sink
    });
    for number in 0..2_000_u32 {
        if number % 200 == 0 {
            // Reads nothing for a while: buffers fill up on the whole way.
            tokio::task::yield_now().await;
        }
        let message = stream.next().await.unwrap().unwrap().into_text().unwrap();
        assert_eq!(message.split(' ').next(), Some(number.to_string().as_str()));
    }
    drop(sender.await.unwrap());
}
