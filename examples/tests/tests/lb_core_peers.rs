//! The reverse proxy judged by programs that share no line with it: Python's h2, websockets and
//! requests, wrk, h2load, Chromium in front; nginx over TLS and HTTP/2 behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../../../lb-core/tests/proxy/support.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of lb-core, which use all of it"
)]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lb_core::proxy::{GatewayServer, ServeOptions, UpstreamTls, serve_gateway};
use lb_core::{Pool, ReverseProxy};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::{Client, Origin, Reply, ok};
use testkit::{Program, Ready, Server, clients, port};

const PYTHON: [&str; 3] = ["h2==4.3.0", "requests==2.32.5", "websockets==15.0.1"];

fn gateway(proxy: &ReverseProxy) -> GatewayServer {
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    serve_gateway(proxy, &options).unwrap()
}

fn proxy_to(url: String) -> ReverseProxy {
    let pool = Pool::builder("peers").endpoints([url]);
    pool.build().unwrap().reverse_proxy()
}

/// What a program prints, run to its end.
fn run(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let mut command = Command::new(program.as_ref());
    clients::output(command.args(arguments)).unwrap_or_else(|error| panic!("{error}"))
}

fn program(name: &str, package: &str) -> PathBuf {
    let found = Program::new(name, package).find();
    found.unwrap_or_else(|error| panic!("{error}"))
}

fn python(script: &str, arguments: &[&str]) -> String {
    let python = clients::python("proxy-peers", &PYTHON).unwrap_or_else(|error| panic!("{error}"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(script);
    run(python, &[&[script.to_str().unwrap()], arguments].concat())
}

/// The cases of a script: what was seen of each.
fn cases(printed: &str) -> Vec<(&str, &str)> {
    let cases: Vec<_> = printed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
    assert!(cases.len() > 5, "{printed}");
    cases
}

fn all_are_ok(printed: &str) {
    let faults: Vec<_> = cases(printed)
        .into_iter()
        .filter(|(_, saw)| *saw != "ok")
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

// === HTTP/2, frame by frame ===

#[test]
fn http2_holds_by_the_sections_of_its_rfc_and_nothing_is_smuggled() {
    let origin = Origin::saying("hello");
    let server = gateway(&proxy_to(origin.url()));
    all_are_ok(&python(
        "http2.py",
        &[&server.local_addr().port().to_string()],
    ));
    let seen = origin.seen();
    assert!(seen.iter().any(|request| request.starts_with("GET /good ")));
    assert!(
        seen.iter().all(|request| !request.contains("smuggled")),
        "{seen:#?}"
    );
}

#[test]
fn the_same_judge_finds_fault_with_a_server_that_takes_everything() {
    let printed = python("http2.py", &["--control"]);
    // Requests and frames that must be refused, and were answered or passed over.
    let refusals = [
        "4.", "5.", "6.4", "6.5", "6.7", "6.10", "8.1.1", "8.2", "8.3", "8.4", "8.5",
    ];
    let (mut judged, mut fooled) = (0, Vec::new());
    for (name, saw) in cases(&printed) {
        if refusals.iter().any(|section| name.starts_with(section)) {
            judged += 1;
            fooled.extend((!matches!(saw, "200" | "silence")).then_some((name, saw)));
        }
    }
    assert!(judged > 30 && fooled.is_empty(), "of {judged}: {fooled:#?}");
}

// === WebSocket ===

#[test]
fn the_websockets_library_does_not_notice_the_proxy() {
    let origin = port::free();
    let server = gateway(&proxy_to(format!("http://127.0.0.1:{origin}")));
    let gateway = server.local_addr().port();
    all_are_ok(&python(
        "websocket.py",
        &[&origin.to_string(), &gateway.to_string()],
    ));
}

// === clients ===

#[test]
fn python_requests_gets_every_answer() {
    let origin = Origin::saying("hello");
    let server = gateway(&proxy_to(origin.url()));
    let url = format!("http://{}/", server.local_addr());
    assert_eq!(python("requests_client.py", &[&url]).trim(), "ok");
}

#[test]
fn wrk_and_h2load_lose_nothing() {
    let origin = Origin::saying("hello");
    let server = gateway(&proxy_to(origin.url()));
    let url = format!("http://{}/", server.local_addr());
    let wrk = run(
        program("wrk", "wrk"),
        &["-t1", "-c8", "-d1s", "--timeout", "10s", &url],
    );
    assert!(
        wrk.contains("Requests/sec") && !wrk.contains("Non-2xx") && !wrk.contains("Socket errors"),
        "{wrk}"
    );
    let h2load = program("h2load", "nghttp2-client");
    for version in [&["--h1"][..], &["-m", "10"]] {
        let printed = run(
            &h2load,
            &[&["-n", "500", "-c", "4"], version, &[url.as_str()]].concat(),
        );
        assert!(
            printed.contains("500 succeeded, 0 failed, 0 errored, 0 timeout"),
            "{printed}"
        );
    }
}

#[test]
fn a_browser_loads_a_page_and_what_its_script_asks_for() {
    const PAGE: &str =
        "<!doctype html><title>t</title><p id=p>before</p><script src=/code.js></script>";
    const CODE: &str = "fetch('/text').then(a => a.text()).then(t => { document.getElementById('p').textContent = t })";
    let origin = Origin::start(|request| {
        let text = String::from_utf8_lossy(request);
        let (kind, body) = match text.split(' ').nth(1) {
            Some("/code.js") => ("text/javascript", CODE),
            Some("/text") => ("text/plain", "loaded through the gateway"),
            _ => ("text/html", PAGE),
        };
        let answer = String::from_utf8(ok(body)).unwrap();
        Reply::Keep(
            answer
                .replacen("\r\n", &format!("\r\ncontent-type: {kind}\r\n"), 1)
                .into(),
        )
    });
    let server = gateway(&proxy_to(origin.url()));
    let url = format!("http://{}/", server.local_addr());
    let profile = tempfile::tempdir().unwrap();
    let profile = format!("--user-data-dir={}", profile.path().display());
    let dom = run(
        program("chromium", "chromium"),
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--virtual-time-budget=10000",
            &profile,
            "--dump-dom",
            &url,
        ],
    );
    assert!(dom.contains("loaded through the gateway"), "{dom}");
}

// === nginx behind, over TLS and HTTP/2 ===

struct Nginx {
    _server: Server,
    folder: tempfile::TempDir,
    port: u16,
    roots: String,
}

impl Nginx {
    /// Says in each answer what it was spoken to in. `listen` follows the port.
    fn start(listen: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = port::free();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let signed = params.signed_by(&key, &authority).unwrap();
        let at = folder.path().display();
        std::fs::write(folder.path().join("cert"), signed.pem()).unwrap();
        std::fs::write(folder.path().join("key"), key.serialize_pem()).unwrap();
        let text = format!(
            "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; ssl_certificate {at}/cert; ssl_certificate_key {at}/key;\n\
             ssl_protocols TLSv1.2 TLSv1.3;\n\
             server {{ listen 127.0.0.1:{port} {listen}; root {at};\n\
             location / {{ return 200 \"$server_protocol $ssl_protocol\"; }} location /large {{ }} }} }}\n"
        );
        std::fs::write(folder.path().join("large"), vec![b'x'; 8 << 20]).unwrap();
        std::fs::write(folder.path().join("conf"), text).unwrap();
        // Its workers run as somebody else.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let server = Server::of(&Program::new("nginx", "nginx"))
            .args(Self::arguments(folder.path()))
            .ready(Ready::Tcp { port })
            .start()
            .unwrap_or_else(|error| panic!("{error}"));
        let roots = authority.pem();
        Self {
            _server: server,
            folder,
            port,
            roots,
        }
    }

    fn arguments(folder: &Path) -> Vec<String> {
        let path = |name: &str| folder.join(name).display().to_string();
        vec![
            "-p".into(),
            path(""),
            "-e".into(),
            path("log"),
            "-c".into(),
            path("conf"),
        ]
    }

    fn proxy(&self, scheme: &str) -> ReverseProxy {
        let tls = UpstreamTls::builder().roots(&self.roots).build().unwrap();
        proxy_to(format!("{scheme}://localhost:{}", self.port)).upstream_tls(tls)
    }

    /// New workers; the old ones say goodbye to their connections.
    fn reload(&self) {
        let mut arguments = Self::arguments(self.folder.path());
        arguments.extend(["-s".into(), "reload".into()]);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        run(program("nginx", "nginx"), &arguments);
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn nginx_is_spoken_to_in_what_it_offers() {
    for (listen, scheme, said) in [
        ("", "http", "HTTP/1.1 "),
        ("http2", "h2c", "HTTP/2.0 "),
        ("ssl", "https", "HTTP/1.1 TLSv1.3"),
        ("ssl http2", "https", "HTTP/2.0 TLSv1.3"),
    ] {
        let nginx = Nginx::start(listen);
        let server = gateway(&nginx.proxy(scheme));
        let mut client = Client::connect(server.local_addr()).await;
        for _ in 0..3 {
            assert_eq!(client.ask(GET).await.text(), said, "{listen}");
        }
        let large = client.ask("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!((large.status, large.body.len()), (200, 8 << 20), "{listen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_reloads_under_load_and_no_post_is_lost() {
    let nginx = Nginx::start("ssl http2");
    let server = gateway(&nginx.proxy("https"));
    let (stop, answers) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(post_until(
                server.local_addr(),
                Arc::clone(&stop),
                Arc::clone(&answers),
            ))
        })
        .collect();
    for round in 1..=3 {
        support::until("requests are served", || {
            answers.load(Ordering::SeqCst) > round * 200
        })
        .await;
        nginx.reload();
    }
    support::until("and go on", || answers.load(Ordering::SeqCst) > 1_000).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
}

/// Posts on one connection, and fails at the first answer that is not good.
async fn post_until(gateway: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let mut client = Client::connect(gateway).await;
    while !stop.load(Ordering::SeqCst) {
        let answer = client
            .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nup")
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answers.fetch_add(1, Ordering::SeqCst);
    }
}
