//! Interim answers (1xx) in the eyes of others: curl and Python's h11 in front of the gateway, nginx and
//! HAProxy beside it on the same cases.
//!
//! `cargo test -p tests --test core_proxy_interim -- --nocapture` prints the table of three.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../../../lb-core/tests/proxy/support.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of lb-core, which use all of it"
)]
mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use lb_core::Pool;
use lb_core::proxy::{GatewayServer, ServeOptions, serve_gateway};
use support::{Origin, PATIENCE, Reply, ok};
use testkit::{Program, Ready, Server, clients, port};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";
const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";

fn gateway(url: String) -> GatewayServer {
    let pool = Pool::builder("interim").endpoints([url]).build().unwrap();
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    serve_gateway(&pool.reverse_proxy(), &options).unwrap()
}

/// Hints twice and then a sign of life before each answer, but for `/none`.
fn origin() -> Origin {
    Origin::start(|request| {
        let quiet = request.starts_with(b"GET /none ");
        let early = [HINTS, HINTS, PROCESSING].concat();
        let early = if quiet { "" } else { &early };
        Reply::Keep([early.as_bytes(), &ok("hello")].concat())
    })
}

fn run(command: &mut Command) -> String {
    clients::output(command).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn curl_shows_every_interim_head_and_the_answer() {
    let origin = origin();
    let server = gateway(origin.url());
    let curl = Program::new("curl", "curl").find();
    let curl = curl.unwrap_or_else(|error| panic!("{error}"));
    let url = format!("http://{}/hints", server.local_addr());
    let seen = run(Command::new(curl).args(["-sS", "-i", "--max-time", "20", &url]));
    let early = [HINTS, HINTS, PROCESSING].concat();
    let rest = seen
        .strip_prefix(&early)
        .unwrap_or_else(|| panic!("{seen}"));
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\nhello"));
}

#[test]
fn h11_reads_every_interim_head_and_the_answer() {
    let origin = origin();
    let server = gateway(origin.url());
    let python = clients::python("proxy-interim", &["h11==0.16.0"]);
    let python = python.unwrap_or_else(|error| panic!("{error}"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/interim.py");
    let port = server.local_addr().port().to_string();
    let printed = run(Command::new(python).arg(script).arg(port));
    let cases: Vec<_> = printed
        .lines()
        .filter_map(|it| it.split_once('\t'))
        .collect();
    assert_eq!(cases.len(), 4, "{printed}");
    assert!(cases.iter().all(|(_, saw)| *saw == "ok"), "{printed}");
}

// === the table of three ===

/// What an endpoint says before a plain 200, by path.
const CASES: [(&str, &str, &[u16]); 8] = [
    ("103", HINTS, &[103, 200]),
    ("102", PROCESSING, &[102, 200]),
    ("100 unasked", "HTTP/1.1 100 Continue\r\n\r\n", &[200]),
    (
        "101 unasked",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        &[502],
    ),
    (
        "103 with a length",
        "HTTP/1.1 103 x\r\ncontent-length: 3\r\n\r\n",
        &[103, 200],
    ),
    (
        "103 with fields of the hop",
        "HTTP/1.1 103 x\r\nconnection: close, x-a\r\nx-a: 1\r\nkeep-alive: 5\r\n\r\n",
        &[103, 200],
    ),
    (
        "103 with a control byte",
        "HTTP/1.1 103 x\r\nx-a: \x01\r\n\r\n",
        &[502],
    ),
    ("199", "HTTP/1.1 199 x\r\n\r\n", &[199, 200]),
];

/// What a client reads from `gateway`: every status line, and all of it.
fn heard(gateway: SocketAddr, case: usize) -> (Vec<u16>, String) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /{case} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines = text.split("HTTP/1.1 ").skip(1);
    let statuses = lines.filter_map(|line| line.get(..3)?.parse().ok());
    (statuses.collect(), text)
}

fn started(
    program: &str,
    folder: &Path,
    config: &str,
    port: u16,
    args: &[&str],
) -> (Server, SocketAddr) {
    let path = folder.join(format!("{program}.conf"));
    std::fs::write(&path, config).unwrap();
    let path = path.display().to_string();
    let server = Server::of(&Program::new(program, program))
        .args(args.iter().copied().chain([path.as_str()]))
        .ready(Ready::Tcp { port })
        .start()
        .unwrap_or_else(|error| panic!("{error}"));
    (server, SocketAddr::from(([127, 0, 0, 1], port)))
}

fn nginx(origin: SocketAddr, folder: &Path) -> (Server, SocketAddr) {
    let (at, port) = (folder.display(), port::free());
    let text = format!(
        "daemon off; master_process off; pid {at}/pid; error_log /dev/null; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{origin}; proxy_http_version 1.1; }} }} }}\n"
    );
    let folder_text = at.to_string();
    started(
        "nginx",
        folder,
        &text,
        port,
        &["-p", &folder_text, "-e", "/dev/null", "-c"],
    )
}

fn haproxy(origin: SocketAddr, folder: &Path) -> (Server, SocketAddr) {
    let port = port::free();
    let text = format!(
        "defaults\n mode http\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n\
         listen l\n bind 127.0.0.1:{port}\n server s {origin}\n"
    );
    started("haproxy", folder, &text, port, &["-db", "-q", "-f"])
}

/// nginx 1.22 takes the first head for the answer, and HAProxy 2.6 hands on what belongs to
/// its own connection to the endpoint, and control bytes.
#[test]
fn what_haproxy_hands_on_is_handed_on_here_and_nothing_of_the_hop() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start(|request| {
        let case = usize::from(request[5] - b'0');
        Reply::Close([CASES[case].1.as_bytes(), &ok("hello")].concat())
    });
    let server = gateway(origin.url());
    let (_nginx, second) = nginx(origin.address, folder.path());
    let (_haproxy, third) = haproxy(origin.address, folder.path());
    println!("| said before 200 | ours | nginx | HAProxy |\n|---|---|---|---|");
    for (number, (name, _, expected)) in CASES.into_iter().enumerate() {
        let [(ours, text), (nginx, _), (haproxy, _)] =
            [server.local_addr(), second, third].map(|gateway| heard(gateway, number));
        println!("| {name} | {ours:?} | {nginx:?} | {haproxy:?} |");
        assert_eq!(ours, expected, "{name}");
        assert!(
            !text.contains("x-a") && !text.contains("keep-alive"),
            "{name}: {text}"
        );
        if haproxy.first() == Some(&103) && !name.ends_with("control byte") {
            assert_eq!(ours.first(), Some(&103), "{name}");
        }
    }
}
