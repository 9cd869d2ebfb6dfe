//! Real clients keep their session: curl with a cookie jar, Python's requests and websockets, a
//! browser. Gateways in processes of their own agree on every cookie if they share a secret.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Html;
use axum::routing::{any, get, post};
use testkit::{Program, Ready, Server, clients, port};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const SECRET: &str = "a secret that three gateways share";
const NAMES: [&str; 3] = ["one", "two", "three"];
/// Sessions that every gateway is asked about.
const SESSIONS: usize = 12;

/// Asks 20 times over HTTP and 5 times over WebSocket who is there, then tells the instance.
const PAGE: &str = "<!doctype html><title>sessions</title><script>
const socket = () => new Promise((done, lost) => {
    const it = new WebSocket(`ws://${location.host}/ws`);
    it.onmessage = message => done(message.data);
    it.onerror = lost;
});
(async () => {
    const seen = [];
    for (let i = 0; i < 20; i++) seen.push(await (await fetch('/whoami')).text());
    for (let i = 0; i < 5; i++) seen.push(await socket());
    await fetch('/seen', { method: 'POST', body: seen.join(' ') });
})();
</script>";

/// An instance that says its name, and passes on what a page has seen. Returns its address.
async fn instance(name: &'static str, seen: mpsc::UnboundedSender<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let greet = move |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(move |mut socket| async move {
            // The client may have left already.
            let _gone = socket.send(name.into()).await;
        })
    };
    let pass_on = move |body: String| async move { seen.send(body).expect("the test listens") };
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/whoami", get(move || async move { name }))
        .route("/ws", any(greet))
        .route("/seen", post(pass_on));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Three instances, and what their pages have seen.
async fn instances() -> (Vec<String>, mpsc::UnboundedReceiver<String>) {
    let (tell, seen) = mpsc::unbounded_channel();
    let mut urls = Vec::new();
    for name in NAMES {
        urls.push(instance(name, tell.clone()).await);
    }
    (urls, seen)
}

/// A gateway in a process of its own.
struct Gateway {
    _server: Server,
    port: u16,
}

impl Gateway {
    fn start(secret: &str, urls: &[String]) -> Self {
        let path = Path::new(env!("CARGO_BIN_EXE_affinity_gateway"));
        let folder = path.parent().expect("a program is in a folder");
        let port = port::free();
        let program =
            Program::installed_by("affinity_gateway", "cargo build -p tests").in_folder(folder);
        let server = Server::of(&program)
            .args([port.to_string(), secret.to_owned()])
            .args(urls)
            .ready(Ready::Tcp { port })
            .start()
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            _server: server,
            port,
        }
    }

    fn whoami(&self) -> String {
        format!("http://127.0.0.1:{}/whoami", self.port)
    }
}

fn program(name: &str, package: &str) -> Command {
    let found = Program::new(name, package).find();
    Command::new(found.unwrap_or_else(|error| panic!("{error}")))
}

/// What curl prints.
fn curl(arguments: &[&str]) -> String {
    let mut curl = program("curl", "curl");
    let printed = clients::output(curl.args(["-s", "--noproxy", "*"]).args(arguments));
    printed.unwrap_or_else(|error| panic!("{error}"))
}

/// The instances that answered a client: all the same one?
fn stayed(seen: &str) -> bool {
    let names: Vec<_> = seen.split_whitespace().collect();
    assert!(names.len() >= 20, "the client gave up early: {seen:?}");
    assert!(names.iter().all(|name| NAMES.contains(name)), "{seen:?}");
    names.iter().all(|name| *name == names[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_with_a_cookie_jar_stays_and_without_one_moves() {
    let (urls, _seen) = instances().await;
    let gateway = Gateway::start(SECRET, &urls);
    let folder = tempfile::tempdir().expect("a folder");
    let jar = folder.path().join("jar").display().to_string();
    let url = gateway.whoami();
    let asked = |with: &[&str]| {
        (0..20)
            .map(|_| curl(&[with, &[&url]].concat()) + " ")
            .collect::<String>()
    };
    assert!(stayed(&asked(&["-b", &jar, "-c", &jar])));
    assert!(!stayed(&asked(&[])), "the judge takes anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_requests_and_websockets_stay() {
    let (urls, _seen) = instances().await;
    let gateway = Gateway::start(SECRET, &urls);
    let packages = ["requests==2.32.5", "websockets==15.0.1"];
    let python = clients::python("affinity", &packages).unwrap_or_else(|error| panic!("{error}"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/affinity_client.py");
    let mut python = Command::new(python);
    python
        .arg(script)
        .arg(format!("127.0.0.1:{}", gateway.port));
    let seen = clients::output(&mut python).unwrap_or_else(|error| panic!("{error}"));
    assert!(stayed(&seen), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_stays_over_http_and_websocket() {
    let (urls, mut seen) = instances().await;
    let gateway = Gateway::start(SECRET, &urls);
    let profile = tempfile::tempdir().expect("a folder");
    let browser = Server::of(&Program::new("chromium", "chromium"))
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--no-proxy-server",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([format!("--user-data-dir={}", profile.path().display())])
        .args([format!("http://127.0.0.1:{}/", gateway.port)])
        .ready(Ready::Started)
        .start()
        .unwrap_or_else(|error| panic!("{error}"));
    let told = tokio::time::timeout(Duration::from_secs(60), seen.recv()).await;
    let seen = told.unwrap_or_else(|_| panic!("no word from the browser: {}", browser.log()));
    let seen = seen.expect("an instance passed it on");
    assert!(stayed(&seen), "{seen}");
}

/// Does this gateway send every session to its own instance, whenever it is asked?
fn honours(gateway: &Gateway, sessions: &[(String, String)]) -> bool {
    let url = gateway.whoami();
    let here = |jar: &str, name: &str| (0..2).all(|_| curl(&["-b", jar, &url]) == name);
    sessions.iter().all(|(jar, name)| here(jar, name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_with_one_secret_agree_on_every_cookie_and_one_with_another_does_not() {
    let (urls, _seen) = instances().await;
    let gateways: Vec<_> = (0..3).map(|_| Gateway::start(SECRET, &urls)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let session = |number: usize| {
        let jar = folder.path().join(number.to_string()).display().to_string();
        // Each gateway has bound some of them.
        let name = curl(&["-c", &jar, &gateways[number % 3].whoami()]);
        (jar, name)
    };
    let sessions: Vec<_> = (0..SESSIONS).map(session).collect();
    for name in NAMES {
        assert!(
            sessions.iter().any(|(_, bound)| bound == name),
            "nobody is on {name}"
        );
    }
    for gateway in &gateways {
        assert!(honours(gateway, &sessions));
    }
    let stranger = Gateway::start("a secret that nobody else knows", &urls);
    assert!(!honours(&stranger, &sessions), "the judge takes anything");
}
