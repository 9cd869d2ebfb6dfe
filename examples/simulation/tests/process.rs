//! The service as a process: starts, serves, and leaves in good order.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect};

struct Instance {
    child: Child,
    address: String,
}

impl Instance {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_simulation"))
            .args(["--id", "process-test", "--threads", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut address).unwrap();
        Self {
            child,
            address: address.trim().to_owned(),
        }
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Status of a GET.
    fn get(&self, path: &str) -> u16 {
        self.read(path).split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The whole answer to a GET.
    fn read(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until a GET has this status.
    fn wait_for(&self, path: &str, status: u16) {
        let statuses = (0..10_000).map(|_| self.get(path));
        assert!(
            { statuses }.any(|got| got == status),
            "{path} never was {status}"
        );
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn open(&self, path: &str) -> WebSocket<MaybeTlsStream<TcpStream>> {
        let (socket, _) = connect(format!("ws://{}{path}", self.address)).unwrap();
        socket
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

#[test]
fn sigterm_lets_an_open_stream_end_and_exits_with_zero() {
    let instance = Instance::start();
    instance.wait_for("/ready", 200);
    for path in ["/health", "/startup", "/whoami", "/metrics"] {
        assert_eq!(instance.get(path), 200, "{path}");
    }
    let metrics = instance.read("/metrics");
    let remembered = "lb_cache_entries{cache=\"ended-jobs\"} 0";
    assert!(metrics.contains(remembered), "{metrics}");
    let mut socket = instance.open("/ticks?count=40&every_ms=50");
    let mut seen = 0;
    let code = loop {
        match socket.read().unwrap() {
            Message::Text(text) => {
                seen += 1;
                assert!(text.contains(&format!(r#""tick":{seen}"#)), "{text}");
                if seen == 3 {
                    instance.terminate();
                    // It drains: alive, but not for new work.
                    instance.wait_for("/ready", 503);
                    assert_eq!(instance.get("/health"), 200);
                }
            }
            Message::Close(close) => break close.map(|close| u16::from(close.code)),
            _ => {}
        }
    };
    assert_eq!((seen, code), (40, Some(1000)));
    drop(socket);
    assert!(instance.wait().success());
}

#[test]
fn an_idle_instance_exits_at_once() {
    let instance = Instance::start();
    let idle_connection = TcpStream::connect(&instance.address).unwrap();
    instance.terminate();
    assert!(instance.wait().success());
    drop(idle_connection);
}
