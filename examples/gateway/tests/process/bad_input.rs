//! Whatever is sent over a real socket: an answer, little memory, and the process lives on.

use crate::support::{Process, until_async};
use testkit::memory::resident_bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SPEC: &str = r#"{"inputs": {"x": {"distribution": "normal", "mean": 0, "std_dev": 1}}, "formula": "x", "iterations": 10000, "seed": 1}"#;

/// Sends bytes and reads what comes back until the other side is done.
async fn raw(gateway: &Process, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(&gateway.authority).await.unwrap();
    // The other side may hang up on us in the middle.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn ten_gigabytes_are_refused_without_being_stored() {
    let gateway = Process::quiet();
    gateway.instances(3).await;
    let before = resident_bytes(gateway.child.id());
    let head = "PUT /simulations/huge HTTP/1.1\r\nhost: x\r\ncontent-length: 10737418240\r\n\r\n";
    let mut announced = head.as_bytes().to_vec();
    announced.resize(announced.len() + (1 << 20), b' ');
    assert!(raw(&gateway, &announced).await.starts_with("HTTP/1.1 413"));
    let head = "PUT /simulations/huge HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut unannounced = head.as_bytes().to_vec();
    for _ in 0..2_000 {
        unannounced.extend_from_slice(b"2000\r\n");
        unannounced.resize(unannounced.len() + 0x2000, b' ');
        unannounced.extend_from_slice(b"\r\n");
    }
    assert!(
        raw(&gateway, &unannounced)
            .await
            .starts_with("HTTP/1.1 413")
    );
    let grown = resident_bytes(gateway.child.id()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert!(
        gateway
            .send("PUT", "/simulations/small", SPEC)
            .await
            .status()
            .is_success()
    );
}

#[tokio::test]
async fn a_request_that_is_no_http_is_answered_with_400() {
    let gateway = Process::quiet();
    assert!(
        raw(&gateway, b"\x16\x03\x01 hello\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
    let mut endless = b"GET / HTTP/1.1\r\nhost: x\r\n".to_vec();
    for number in 0..10_000 {
        endless.extend_from_slice(format!("x-{number}: {}\r\n", "y".repeat(50)).as_bytes());
    }
    endless.extend_from_slice(b"\r\n");
    let answer = raw(&gateway, &endless).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert!(
        gateway
            .send("GET", "/status", "")
            .await
            .status()
            .is_success()
    );
}

#[tokio::test]
async fn a_thousand_hostile_submits_leave_a_gateway_that_works() {
    let gateway = Process::quiet();
    gateway.instances(3).await;
    for number in 0..1_000 {
        let body = match number % 5 {
            0 => "{".repeat(number),
            1 => format!("[{}", "[".repeat(8_000)),
            2 => SPEC.replace(
                "\"x\", \"iter",
                &format!("\"{}\", \"iter", "(".repeat(2_000)),
            ),
            3 => SPEC.replace("10000", "1e999"),
            _ => SPEC.replace("\"formula\": \"x\"", "\"formula\": \"1/0\""),
        };
        let answer = gateway
            .send("PUT", &format!("/simulations/bad-{number}"), body)
            .await;
        assert!(
            answer.status().is_client_error(),
            "{number}: {}",
            answer.status()
        );
    }
    assert!(
        gateway
            .send("PUT", "/simulations/good", SPEC)
            .await
            .status()
            .is_success()
    );
    until_async("the good one ends", async || {
        let view = gateway.get("/simulations/good").await;
        assert_ne!(view["status"], "failed", "{view}");
        (view["status"] == "finished").then_some(())
    })
    .await;
}
