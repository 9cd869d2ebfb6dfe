//! The registry as a program of its own: what it keeps over a restart, and what it says to nonsense.

use std::process::Command;
use std::time::Duration;

use testkit::{Program, Ready, Server, port, wait};

#[path = "registry_conformance/http.rs"]
mod http;

const SOON: Duration = Duration::from_secs(20);
const REGISTER: &str = "/v1/agent/service/register";

fn program() -> Program {
    let here = std::env::current_exe().expect("this test has a path");
    let target = here
        .parent()
        .and_then(|deps| deps.parent())
        .expect("it lies in deps");
    let how = "cargo build -p lb-registry --example registry_server --all-features";
    Program::installed_by("registry_server", how).in_folder(target.join("examples"))
}

fn start(port: u16, options: &[String]) -> Server {
    let listen = ["--listen".to_owned(), format!("127.0.0.1:{port}")];
    let ready = Ready::Http {
        port,
        path: "/ready".into(),
    };
    let server = Server::of(&program())
        .args(listen)
        .args(options)
        .ready(ready);
    server.start().expect("the server starts")
}

fn ids(port: u16) -> Vec<String> {
    let services = http::send(port, "GET", "/v1/agent/services", &[], "").json();
    services
        .as_object()
        .into_iter()
        .flatten()
        .map(|(id, _)| id.clone())
        .collect()
}

#[test]
fn what_is_persisted_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state");
    let options = ["--persist".to_owned(), file.display().to_string()];
    let port = port::free();
    let put = |path: &str, body: &str| http::send(port, "PUT", path, &[], body).status;
    let index = || -> u64 {
        let answer = http::send(port, "GET", "/v1/health/service/web", &[], "");
        answer.headers["x-consul-index"].parse().expect("a number")
    };
    let server = start(port, &options);
    let body = r#"{"ID": "a", "Name": "web", "Meta": {"zone": "z1"}, "Check": {"TTL": "60s", "Status": "passing"}}"#;
    assert_eq!(put(REGISTER, body), 200);
    assert_eq!(put("/v1/kv/colour", "blue"), 200);
    let before = index();
    let written = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("colour"));
    assert!(wait::until(SOON, written), "{}", server.log());
    server.kill();
    assert!(server.wait_for_exit(SOON));
    let _server = start(port, &options);
    let found = http::send(port, "GET", "/v1/health/service/web?passing", &[], "").json();
    assert_eq!(found[0]["Service"]["Meta"]["zone"], "z1");
    assert_eq!(
        http::send(port, "GET", "/v1/kv/colour?raw", &[], "").body,
        "blue"
    );
    assert!(index() >= before, "an index never goes back");
    // Its TTL runs again, and it can be reported to.
    assert_eq!(put("/v1/agent/check/pass/service:a", ""), 200);
}

#[test]
fn control_without_a_file_nothing_survives_a_kill() {
    let port = port::free();
    let server = start(port, &[]);
    assert_eq!(
        http::send(port, "PUT", REGISTER, &[], r#"{"Name": "web"}"#).status,
        200
    );
    assert_eq!(ids(port), ["web"]);
    server.kill();
    assert!(server.wait_for_exit(SOON));
    let _server = start(port, &[]);
    assert_eq!(ids(port), Vec::<String>::new());
}

#[test]
fn a_damaged_file_and_nonsense_on_the_command_line_are_said_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state");
    std::fs::write(&file, "0000000000000000\n{}").expect("the folder is there");
    let file = file.display().to_string();
    for (words, says) in [
        (vec!["--persist", &file], "the file is damaged"),
        (vec!["--compat", "2.0"], "neither"),
        (vec!["--listen"], "needs a value"),
        (vec!["--nonsense", "x"], "there is no option --nonsense"),
        (
            vec!["--persist", &file, "--etcd", "http://127.0.0.1:1"],
            "leave --persist out",
        ),
        (vec!["--etcd", "nonsense"], "InvalidUrl"),
    ] {
        let output = Command::new(program().find().expect("it is built"))
            .args(&words)
            .output();
        let output = output.expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(says),
            "{words:?}: {said}"
        );
    }
}

#[test]
fn it_ends_when_it_is_asked_to() {
    let server = start(port::free(), &[]);
    server.terminate();
    assert!(server.wait_for_exit(SOON), "{}", server.log());
}
