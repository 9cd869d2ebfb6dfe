//! Other people's clients, unchanged, against the embedded server: Python, Node and Prometheus.

use std::process::Command;
use std::time::Duration;

use lb_registry::{Discovery, EmbeddedServer, InProcess, Status};
use testkit::{clients, prometheus::Prometheus, wait};

#[path = "registry_conformance/http.rs"]
mod http;

struct Served {
    port: u16,
    store: InProcess,
    _runtime: tokio::runtime::Runtime,
}

fn serve() -> Served {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = InProcess::default();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    runtime.spawn(EmbeddedServer::new(store.clone()).serve(listener));
    Served {
        port,
        store,
        _runtime: runtime,
    }
}

/// Calls that both Python libraries have in common; each line fails by itself.
const PYTHON: &str = r#"
import sys, consul
c = consul.Consul(host="127.0.0.1", port=int(sys.argv[1]))
ok = c.agent.service.register("web", service_id="web-1", address="127.0.0.1", port=8000, tags=["a"],
                              check=consul.Check.ttl("30s"))
assert ok, "register"
assert c.agent.check.ttl_pass("service:web-1"), "pass"
index, nodes = c.health.service("web", passing=True)
assert [n["Service"]["ID"] for n in nodes] == ["web-1"], nodes
again, nodes = c.health.service("web", index=index, wait="1s")
assert again == index and len(nodes) == 1, "a blocking query without news"
assert c.agent.check.ttl_fail("service:web-1"), "fail"
assert c.health.service("web", passing=True)[1] == [], "critical"
assert "web" in c.catalog.services()[1] and "web-1" in c.agent.services()
assert c.catalog.service("web")[1][0]["ServiceID"] == "web-1"
assert "service:web-1" in c.agent.checks()
assert c.agent.service.maintenance("web-1", True, "why")
assert c.agent.service.maintenance("web-1", False)
assert c.kv.put("k", "v") and c.kv.get("k")[1]["Value"] == b"v" and c.kv.delete("k")
session = c.session.create(ttl=10)
assert c.kv.put("lead", "me", acquire=session) and c.session.destroy(session)
assert c.status.leader()
assert c.agent.service.deregister("web-1")
print("fine")
"#;

fn python(name: &str, package: &str) -> String {
    let served = serve();
    let python =
        clients::python(name, &[package, "setuptools<81"]).expect("the client is installed");
    let script = Command::new(python)
        .args(["-W", "ignore", "-c", PYTHON, &served.port.to_string()])
        .output();
    let script = script.expect("Python starts");
    assert!(
        script.status.success(),
        "{}",
        String::from_utf8_lossy(&script.stderr)
    );
    String::from_utf8_lossy(&script.stdout).trim().to_owned()
}

#[test]
fn py_consul_works_unchanged() {
    assert_eq!(python("py-consul", "py-consul==1.8.0"), "fine");
}

#[test]
fn python_consul2_works_unchanged() {
    assert_eq!(python("python-consul2", "python-consul2==0.1.5"), "fine");
}

#[test]
fn a_plain_put_as_a_python_service_sends_it_registers() {
    let served = serve();
    let python =
        clients::python("requests", &["requests==2.32.5"]).expect("the client is installed");
    let script = r#"
import sys, requests
base = f"http://127.0.0.1:{sys.argv[1]}"
r = requests.put(f"{base}/v1/agent/service/register", json={
    "ID": "simulation-h1", "Name": "simulation", "Port": 8000,
    "Check": {"HTTP": "http://127.0.0.1:9/health", "Interval": "10s", "Timeout": "1s"},
    "Meta": {"version": "1.2.3"}})
assert (r.status_code, r.text) == (200, ""), (r.status_code, r.text)
print("fine")
"#;
    let output =
        clients::output(Command::new(&python).args(["-c", script, &served.port.to_string()]));
    assert_eq!(output.expect("it succeeds").trim(), "fine");
    let watch = served.store.watch("simulation");
    let set = watch.latest();
    assert_eq!(
        (set.instances[0].version.as_str(), set.instances[0].port),
        ("1.2.3", 8000)
    );
    // Nobody listens there, so the first probe finds it critical.
    assert!(wait::until(Duration::from_secs(10), || {
        watch.latest().instances[0].status == Status::Critical
            && http::send(served.port, "GET", "/v1/agent/checks", &[], "").json()["service:simulation-h1"]["Output"]
                .as_str()
                .is_some_and(|why| why.contains("127.0.0.1:9"))
    }));
}

#[test]
fn the_watch_loop_of_the_node_client_sees_an_instance_come_and_go() {
    let served = serve();
    let folder = clients::node("consul", &["consul@2.0.1"]).expect("the client is installed");
    let script = r#"
const Consul = require("consul");
const consul = new Consul({ host: "127.0.0.1", port: Number(process.argv[1]) });
const seen = [];
const watch = consul.watch({ method: consul.health.service, options: { service: "web", wait: "20s" } });
watch.on("change", (nodes) => {
  seen.push(nodes.length);
  if (seen.length === 1) consul.agent.service.register({ id: "web/1", name: "web", port: 80, check: { ttl: "30s" } });
  if (nodes.length === 1 && seen.filter((n) => n === 1).length === 1) consul.agent.service.deregister("web/1");
  if (nodes.length === 0 && seen.length > 1) { watch.end(); console.log("fine"); process.exit(0); }
});
watch.on("error", (error) => { console.error(error); process.exit(1); });
setTimeout(() => { console.error("seen", seen); process.exit(1); }, 25000);
"#;
    let mut node = Command::new("node");
    node.args(["-e", script, &served.port.to_string()])
        .current_dir(folder);
    assert_eq!(
        clients::output(&mut node).expect("it succeeds").trim(),
        "fine"
    );
}

#[test]
fn prometheus_discovers_instances_and_forgets_them() {
    let served = serve();
    let put = |path: &str, body: &str| http::send(served.port, "PUT", path, &[], body).status;
    let body = r#"{"ID": "sim-1", "Name": "simulation", "Address": "127.0.0.1", "Port": 9, "Meta": {"zone": "a"}}"#;
    assert_eq!(put("/v1/agent/service/register", body), 200);
    let configuration = format!(
        "scrape_configs:\n- job_name: found\n  consul_sd_configs:\n  - server: 127.0.0.1:{}\n    services: [simulation]\n    refresh_interval: 1s\n",
        served.port
    );
    let prometheus = Prometheus::start(&configuration).expect("a Prometheus");
    let port: u16 = prometheus
        .url()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let targets = || {
        http::send(port, "GET", "/api/v1/targets?state=active", &[], "").json()["data"]["activeTargets"].clone()
    };
    let has = |count: usize| {
        move |targets: &serde_json::Value| {
            targets.as_array().is_some_and(|list| list.len() == count)
        }
    };
    assert!(
        wait::until(Duration::from_secs(30), || has(1)(&targets())),
        "{}",
        prometheus.server().log()
    );
    let labels = targets()[0]["discoveredLabels"].clone();
    assert_eq!(labels["__meta_consul_service_metadata_zone"], "a");
    assert_eq!(labels["__meta_consul_health"], "passing");
    assert_eq!(put("/v1/agent/service/deregister/sim-1", ""), 200);
    assert!(wait::until(Duration::from_secs(30), || has(0)(&targets())));
}
