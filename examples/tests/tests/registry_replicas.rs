//! Three embedded servers on one etcd are one registry: each knows what the others were told, none can be lost.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::etcd::Etcd;
use testkit::{Program, Ready, Server, port, wait};

#[path = "registry_conformance/http.rs"]
mod http;

const SOON: Duration = Duration::from_secs(20);

/// A server as a process of its own, so that it can be killed.
struct Replica {
    server: Server,
    port: u16,
}

impl Replica {
    fn start(etcd: &Etcd, prefix: &str) -> Self {
        Self::start_at(port::free(), etcd, prefix)
    }

    fn start_at(port: u16, etcd: &Etcd, prefix: &str) -> Self {
        let here = std::env::current_exe().expect("this test has a path");
        let target = here
            .parent()
            .and_then(|deps| deps.parent())
            .expect("it lies in deps");
        let program = Program::installed_by(
            "registry_server",
            "cargo build -p lb-registry --example registry_server --all-features",
        );
        let args = [
            "--listen".into(),
            format!("127.0.0.1:{port}"),
            "--etcd".into(),
            etcd.urls().join(","),
            "--prefix".into(),
            prefix.to_owned(),
        ];
        let ready = Ready::Http {
            port,
            path: "/health".into(),
        };
        let server = Server::of(&program.in_folder(target.join("examples")))
            .args(args)
            .ready(ready);
        Self {
            server: server.start().expect("a replica"),
            port,
        }
    }

    fn put(&self, path: &str, body: &str) -> u16 {
        http::send(self.port, "PUT", path, &[], body).status
    }

    /// Status and ids of the instances of `web`.
    fn web(&self, query: &str) -> (u16, Vec<String>) {
        let answer = http::send(
            self.port,
            "GET",
            &format!("/v1/health/service/web{query}"),
            &[],
            "",
        );
        let list = answer.json();
        let ids = list
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| one["Service"]["ID"].as_str().unwrap_or_default().to_owned());
        (answer.status, ids.collect())
    }

    fn index(&self) -> String {
        let answer = http::send(self.port, "GET", "/v1/health/service/web", &[], "");
        answer.headers["x-consul-index"].clone()
    }

    /// Whether it says that it knows a leader: in the header of an answer, and when asked.
    fn knows_a_leader(&self) -> [bool; 2] {
        let health = http::send(self.port, "GET", "/v1/health/service/web", &[], "");
        let leader = http::send(self.port, "GET", "/v1/status/leader", &[], "");
        let header = &health.headers["x-consul-knownleader"];
        [header == "true", leader.json() != ""]
    }

    fn has(&self, ids: &[&str]) -> bool {
        self.web("?passing") == (200, ids.iter().map(|id| (*id).to_owned()).collect())
    }
}

fn three(etcd: &Etcd) -> [Replica; 3] {
    let replicas = [0, 1, 2].map(|_| Replica::start(etcd, "/web/"));
    for replica in &replicas {
        let ready = || http::send(replica.port, "GET", "/ready", &[], "").status == 200;
        assert!(wait::until(SOON, ready), "{}", replica.server.log());
    }
    replicas
}

fn registration(id: &str, ttl: &str) -> String {
    format!(
        r#"{{"ID": "{id}", "Name": "web", "Port": 80, "Check": {{"TTL": "{ttl}", "Status": "passing"}}}}"#
    )
}

const REGISTER: &str = "/v1/agent/service/register";

fn all_know_a_leader(replicas: &[Replica], known: bool) -> bool {
    let mut replicas = replicas.iter();
    replicas.all(|replica| wait::until(SOON, || replica.knows_a_leader() == [known; 2]))
}

fn all_have(replicas: &[Replica], ids: &[&str], within: Duration) -> bool {
    wait::until(within, || replicas.iter().all(|replica| replica.has(ids)))
}

#[test]
fn what_one_is_told_the_others_know_within_a_second() {
    let etcd = Etcd::start().expect("an etcd");
    let replicas = three(&etcd);
    // On a machine that is busy with other things one of three may take longer.
    let quick = (0..3).filter(|number| {
        let id = format!("a{number}");
        let known: Vec<String> = (0..=*number).map(|number| format!("a{number}")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        assert_eq!(
            replicas[*number].put(REGISTER, &registration(&id, "60s")),
            200
        );
        let quick = all_have(&replicas, &known, Duration::from_secs(1));
        assert!(quick || all_have(&replicas, &known, SOON));
        quick
    });
    assert!(quick.count() >= 2);
}

#[test]
fn every_kind_of_change_reaches_everybody() {
    let etcd = Etcd::start().expect("an etcd");
    let replicas = three(&etcd);
    let (index, port) = (replicas[2].index(), replicas[2].port);
    let blocked = std::thread::spawn(move || {
        let path = format!("/v1/health/service/web?index={index}&wait=20s");
        http::send(port, "GET", &path, &[], "").json()
    });
    assert_eq!(replicas[0].put(REGISTER, &registration("a", "60s")), 200);
    let woken = blocked.join().expect("it is answered");
    assert_eq!(woken[0]["Service"]["ID"], "a");
    assert!(all_have(&replicas, &["a"], SOON));
    // The same index, so that a client may go on with whichever it reaches.
    let indexes: Vec<String> = replicas.iter().map(Replica::index).collect();
    assert!(
        indexes.iter().all(|index| *index == indexes[0]),
        "{indexes:?}"
    );
    let put = |path: &str| replicas[1].put(path, "");
    let maintenance = "/v1/agent/service/maintenance/a?reason=why&enable";
    assert_eq!(put(&format!("{maintenance}=true")), 200);
    assert!(all_have(&replicas, &[], SOON));
    assert_eq!(put(&format!("{maintenance}=false")), 200);
    assert!(all_have(&replicas, &["a"], SOON));
    assert_eq!(replicas[1].put("/v1/kv/colour?cas=0", "blue"), 200);
    let colour = || http::send(port, "GET", "/v1/kv/colour?raw", &[], "").body;
    assert!(wait::until(SOON, || colour() == "blue"));
    assert_eq!(replicas[2].put("/v1/session/create", ""), 501);
    assert_eq!(put("/v1/agent/service/deregister/a"), 200);
    assert!(wait::until(SOON, || {
        replicas.iter().all(|one| one.web("") == (200, Vec::new()))
    }));
}

#[test]
fn control_servers_that_share_nothing_do_not_know_each_others_services() {
    let etcd = Etcd::start().expect("an etcd");
    let apart = [
        Replica::start(&etcd, "/one/"),
        Replica::start(&etcd, "/two/"),
    ];
    for (replica, id) in apart.iter().zip(["a", "b"]) {
        assert!(wait::until(SOON, || replica
            .put(REGISTER, &registration(id, "60s"))
            == 200));
    }
    assert!(apart[0].has(&["a"]) && apart[1].has(&["b"]));
}

#[test]
fn a_killed_replica_takes_nobody_with_it_and_comes_back_knowing_all() {
    let etcd = Etcd::start().expect("an etcd");
    let [first, second, third] = three(&etcd);
    assert_eq!(first.put(REGISTER, &registration("a", "3s")), 200);
    first.server.kill();
    assert!(first.server.wait_for_exit(SOON));
    let rest = [second, third];
    assert!(all_have(&rest, &["a"], SOON));
    // Heartbeats at any of them keep it alive for all, for longer than its TTL.
    for beat in 0..12 {
        assert_eq!(
            rest[beat % 2].put("/v1/agent/check/pass/service:a", ""),
            200
        );
        let lost = || !all_have(&rest, &["a"], Duration::ZERO);
        assert!(
            !wait::until(Duration::from_millis(500), lost),
            "beat {beat}"
        );
    }
    let again = Replica::start_at(first.port, &etcd, "/web/");
    // "Not yet" is an answer, "nobody" is not.
    let full = |answer: &(u16, Vec<String>)| *answer == (200, vec!["a".to_owned()]);
    assert!(wait::until(SOON, || {
        let _ = rest[0].put("/v1/agent/check/pass/service:a", "");
        let answer = again.web("");
        assert!(answer.0 == 500 || full(&answer), "{answer:?}");
        full(&answer)
    }));
}

#[test]
fn without_a_heartbeat_an_instance_ends_everywhere_with_its_ttl() {
    let etcd = Etcd::start().expect("an etcd");
    let replicas = three(&etcd);
    assert_eq!(replicas[0].put(REGISTER, &registration("a", "2s")), 200);
    assert!(all_have(&replicas, &["a"], SOON));
    replicas[0].server.kill();
    // etcd looks for ended leases twice a second; the rest is for a loaded machine.
    assert!(all_have(&replicas[1..], &[], Duration::from_secs(8)));
    let (status, known) = replicas[1].web("");
    assert_eq!((status, known), (200, vec!["a".to_owned()]));
    assert_eq!(replicas[2].put("/v1/agent/check/pass/service:a", ""), 200);
    assert!(all_have(&replicas[1..], &["a"], SOON));
}

#[test]
fn an_etcd_that_restarts_loses_nobody_even_without_its_data() {
    let etcd = Etcd::start().expect("an etcd");
    let replicas = three(&etcd);
    assert_eq!(replicas[0].put(REGISTER, &registration("a", "4s")), 200);
    assert!(all_have(&replicas, &["a"], SOON));
    etcd.kill(0);
    // Reads and heartbeats go on, changes are refused, nothing ends; for longer than the TTL.
    assert_eq!(replicas[1].put(REGISTER, &registration("b", "4s")), 500);
    assert_eq!(replicas[2].put("/v1/agent/check/pass/service:a", ""), 200);
    assert!(all_have(&replicas, &["a"], Duration::ZERO));
    // Who asks is told that the answer may be old.
    assert!(all_know_a_leader(&replicas, false));
    etcd.restart(0).expect("it starts again");
    assert!(all_have(&replicas, &["a"], Duration::ZERO));
    assert!(all_know_a_leader(&replicas, true));
    assert!(wait::until(SOON, || replicas[1]
        .put(REGISTER, &registration("b", "60s"))
        == 200));
    assert_eq!(replicas[0].put(REGISTER, &registration("a", "60s")), 200);
    assert!(all_have(&replicas, &["a", "b"], SOON));
    // One that has forgotten everything is told again.
    etcd.restart_empty().expect("it starts again");
    assert!(wait::until(SOON, || replicas[2]
        .put(REGISTER, &registration("c", "60s"))
        == 200));
    assert!(all_have(&replicas, &["a", "b", "c"], SOON));
    let fresh = Replica::start(&etcd, "/web/");
    assert!(wait::until(SOON, || fresh.has(&["a", "b", "c"])));
}

#[test]
fn etcd_loses_its_leader_and_the_registry_nobody() {
    let etcd = Etcd::start_cluster(3).expect("an etcd");
    let replicas = three(&etcd);
    assert_eq!(replicas[0].put(REGISTER, &registration("a", "60s")), 200);
    assert!(all_have(&replicas, &["a"], SOON));
    let leader = etcd.leader().expect("it has a leader");
    etcd.kill(leader);
    for (replica, id) in replicas.iter().zip(["b", "c", "d"]) {
        assert!(wait::until(SOON, || {
            assert!(replica.web("").1.contains(&"a".to_owned()));
            replica.put(REGISTER, &registration(id, "60s")) == 200
        }));
    }
    assert!(all_have(&replicas, &["a", "b", "c", "d"], SOON));
    etcd.restart(leader).expect("it starts again");
    assert!(all_have(&replicas, &["a", "b", "c", "d"], Duration::ZERO));
}

/// Answers probes with 200 and counts them.
fn asked() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            // Relaxed: a count by itself.
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, count)
}

#[test]
fn one_replica_probes_for_all_and_another_one_takes_over() {
    let etcd = Etcd::start().expect("an etcd");
    let mut replicas: Vec<Replica> = three(&etcd).into();
    let (port, count) = asked();
    let body = format!(
        r#"{{"ID": "a", "Name": "web", "Port": {port}, "Check": {{"HTTP": "http://127.0.0.1:{port}/", "Interval": "1s"}}}}"#
    );
    assert_eq!(replicas[0].put(REGISTER, &body), 200);
    assert!(
        all_have(&replicas, &["a"], SOON),
        "the probe's answer reaches all"
    );
    // Relaxed: a count by itself.
    let probes = || count.load(Ordering::Relaxed);
    let before = probes();
    // Once a second, and not three times.
    assert!(!wait::until(Duration::from_secs(3), || probes() > before + 5));
    while replicas.len() > 1 {
        replicas.remove(0).server.kill();
        let before = probes();
        assert!(
            wait::until(SOON, || probes() > before + 1),
            "nobody probes any more"
        );
    }
    assert!(replicas[0].has(&["a"]));
}
