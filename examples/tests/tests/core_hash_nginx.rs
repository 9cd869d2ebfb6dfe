//! A real nginx with `hash ... consistent` sends each key where our ketama ring says.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use lb_core::policy::{KetamaRing, ketama_key};
use testkit::{Program, Ready, Server, port};

const KEYS: usize = 300;

fn key(number: usize) -> String {
    format!("job-{number:x}")
}

/// A front that hashes, and behind it a server for each of these listeners, all in one.
fn config(folder: &Path, front: u16, servers: &[(String, u32)]) -> String {
    let at = folder.display();
    let mut text = format!(
        "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; upstream all {{ hash $arg_key consistent;\n"
    );
    for (name, weight) in servers {
        writeln!(text, "server {name} weight={weight};").unwrap();
    }
    writeln!(
        text,
        "}} server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://all; }} }}"
    )
    .unwrap();
    for (index, (name, _)) in servers.iter().enumerate() {
        writeln!(text, "server {{ listen {name}; return 200 \"{index}\"; }}").unwrap();
    }
    text + "}\n"
}

/// Where nginx sends each key.
fn owners(servers: &[(String, u32)]) -> Vec<usize> {
    let folder = tempfile::tempdir().unwrap();
    let front = port::free();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("conf"), config(folder.path(), front, servers)).unwrap();
    // Its workers run as somebody else.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let arguments = ["-p", &path(""), "-e", &path("log"), "-c", &path("conf")];
    let _server = Server::of(&Program::new("nginx", "nginx"))
        .args(arguments)
        .ready(Ready::Tcp { port: front })
        .start()
        .unwrap_or_else(|error| panic!("{error}"));
    (0..KEYS).map(|number| ask(front, &key(number))).collect()
}

fn ask(front: u16, key: &str) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", front)).unwrap();
    let request = format!("GET /?key={key} HTTP/1.0\r\nHost: h\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.rsplit("\r\n").next().unwrap().parse().unwrap()
}

fn ours(servers: &[(String, u32)]) -> Vec<usize> {
    let ring = KetamaRing::new(
        servers
            .iter()
            .map(|(name, weight)| (name.as_str(), *weight)),
    );
    let owner = |number| ring.owner(ketama_key(key(number).as_bytes()));
    (0..KEYS).filter_map(owner).collect()
}

#[test]
fn nginx_finds_the_owners_that_our_ketama_ring_finds() {
    let sockets = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(sockets.path(), open).unwrap();
    let socket = |name: &str| format!("unix:{}/{name}", sockets.path().display());
    let servers = [
        (format!("127.0.0.1:{}", port::free()), 1),
        (format!("127.0.0.2:{}", port::free()), 3),
        (format!("[::1]:{}", port::free()), 2),
        (socket("a"), 1),
        (socket("b.80"), 2),
    ];
    let theirs = owners(&servers);
    assert_eq!(theirs, ours(&servers));
    // The control: other weights find others.
    let even: Vec<_> = servers.iter().map(|(name, _)| (name.clone(), 1)).collect();
    assert_ne!(theirs, ours(&even));
}
