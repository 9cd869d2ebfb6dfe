//! How many requests does the embedded server answer, next to the agent whose interface it speaks?
//!
//! Both hold a service of ten instances with a TTL check each, both listen on loopback, both are asked by the same four
//! blocking connections. One iteration is one request. The agent is the real Consul 1.8.7 in a process of its own; the
//! embedded server shares the bench's process, so it also pays for what the connections do in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lb_registry::{EmbeddedServer, InProcess};
use testkit::consul::Consul;

const CONNECTIONS: u64 = 4;
const INSTANCES: usize = 10;

/// A connection that is kept.
struct Client(TcpStream);

impl Client {
    fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("it is a TCP connection");
        Self(stream)
    }

    /// Sends one request and reads the answer to its end.
    fn ask(&mut self, method: &str, path: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0
            .write_all(request.as_bytes())
            .expect("the connection is open");
        let (mut answer, mut piece) = (Vec::new(), [0; 16_384]);
        loop {
            let read = self.0.read(&mut piece).expect("the connection is open");
            assert!(read > 0, "the connection was closed");
            answer.extend_from_slice(&piece[..read]);
            if is_whole(&answer) {
                assert!(
                    answer.starts_with(b"HTTP/1.1 200 "),
                    "{}",
                    String::from_utf8_lossy(&answer)
                );
                return;
            }
        }
    }
}

/// The head is there, and after it as much as it says, or the last chunk.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let (_, body) = answer.split_at(end + 4);
    match head.split_once("content-length: ") {
        Some((_, rest)) => {
            let length = rest
                .split("\r\n")
                .next()
                .and_then(|length| length.parse().ok());
            Some(body.len()) >= length
        }
        None => body.ends_with(b"0\r\n\r\n"),
    }
}

fn register(port: u16) {
    let mut client = Client::new(port);
    for number in 0..INSTANCES {
        let body = format!(
            r#"{{"ID": "web-{number}", "Name": "web", "Address": "10.0.0.{number}", "Port": 80, "Check": {{"TTL": "3600s", "Status": "passing"}}}}"#
        );
        client.ask("PUT", "/v1/agent/service/register", &body);
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Answers `count` requests over several connections and says how long that took.
fn run(port: u16, count: u64, method: &str, path: &str) -> Duration {
    let each = count.div_ceil(CONNECTIONS);
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::new(port)).collect();
    let began = now();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(move || (0..each).for_each(|_| client.ask(method, path, "")));
        }
    });
    // As long as `count` requests would have taken, where it is no multiple of the connections.
    (now() - began).mul_f64(count as f64 / (each * CONNECTIONS) as f64)
}

fn requests(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let embedded = listener.local_addr().expect("it is bound").port();
    runtime.spawn(EmbeddedServer::new(InProcess::default()).serve(listener));
    let consul = Consul::start().expect("a Consul");
    for port in [embedded, consul.port()] {
        register(port);
    }
    for (question, method, path) in [
        ("health_of_ten", "GET", "/v1/health/service/web?passing"),
        ("heartbeat", "PUT", "/v1/agent/check/pass/service:web-3"),
    ] {
        let mut group = c.benchmark_group(question);
        group.throughput(Throughput::Elements(1)).sample_size(10);
        for (name, port) in [("embedded", embedded), ("consul", consul.port())] {
            group.bench_function(name, |b| {
                b.iter_custom(|count| run(port, count, method, path));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);
