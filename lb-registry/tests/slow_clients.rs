//! Clients that are slow on purpose: each gets its exact answer or is cut off, and takes nothing from the others.

use std::time::Duration;

use lb_registry::server::ServerLimits;
use lb_registry::{EmbeddedServer, InProcess};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(20);

fn limits() -> ServerLimits {
    ServerLimits {
        head_timeout: Duration::from_millis(400),
        body_timeout: Duration::from_millis(400),
        write_timeout: Duration::from_millis(400),
        ..ServerLimits::default()
    }
}

struct Served {
    store: InProcess,
    address: std::net::SocketAddr,
}

async fn serve(limits: ServerLimits) -> Served {
    let store = InProcess::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = EmbeddedServer::builder(store.clone()).limits(limits);
    tokio::spawn(server.build().serve(listener));
    Served { store, address }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// Sends this and returns everything that comes until the server closes the connection.
    async fn tell(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.expect("it is sent");
        to_the_end(&mut stream).await
    }

    async fn register(&self, id: &str) -> String {
        let body = format!(r#"{{"ID": "{id}", "Name": "web"}}"#);
        let head = "PUT /v1/agent/service/register HTTP/1.1\r\nHost: a\r\nConnection: close";
        self.tell(&format!(
            "{head}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    fn services(&self) -> usize {
        self.store.read(|catalog| catalog.services().count())
    }
}

async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    // A connection that is reset has come to its end too.
    let _ = read.expect("the server does not wait for ever");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let served = serve(limits()).await;
    let answer = served
        .tell("GET /v1/catalog/services HTTP/1.1\r\nHost: a\r\nX-Slow: 1")
        .await;
    assert_eq!(answer, "");
}

#[tokio::test]
async fn a_body_that_never_ends_is_408_and_registers_nothing() {
    let served = serve(limits()).await;
    let head = "PUT /v1/agent/service/register HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n";
    let answer = served.tell(&format!(r#"{head}{{"Name": "web", "#)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(served.services(), 0);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let served = serve(ServerLimits {
        head_bytes: 8_192,
        ..limits()
    })
    .await;
    let answer = served
        .tell(&format!(
            "GET / HTTP/1.1\r\nX: {}\r\n\r\n",
            "x".repeat(20_000)
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_cut_off() {
    let served = serve(limits()).await;
    // A large answer, so that it does not fit into the buffers of a connection.
    let tags: Vec<String> = (0..20_000).map(|n| format!("{n:020}")).collect();
    let body = serde_json::json!({"Name": "web", "Tags": tags}).to_string();
    let head = "PUT /v1/agent/service/register HTTP/1.1\r\nHost: a\r\nConnection: close";
    let told = served
        .tell(&format!(
            "{head}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    let mut stream = served.connect().await;
    let mut asked = 0u32;
    let ask = async {
        // Written until the server, which is stuck with its answers, takes no more and hangs up.
        while stream
            .write_all(b"GET /v1/health/service/web HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .is_ok()
        {
            asked += 1;
        }
    };
    assert!(
        tokio::time::timeout(SOON, ask).await.is_ok(),
        "{asked} questions and still connected"
    );
}

#[tokio::test]
async fn slow_clients_take_nothing_from_the_others() {
    let served = serve(ServerLimits {
        connections: 8,
        ..limits()
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = served.connect().await;
        stream
            .write_all(b"GET /health HTTP/1.1\r\n")
            .await
            .expect("it is sent");
        slow.push(stream);
    }
    // Every place is taken; this one waits until the first of them is cut off.
    let answer = served.register("a").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for stream in &mut slow {
        assert_eq!(to_the_end(stream).await, "");
    }
    assert!(served.register("b").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(served.services(), 2);
}
