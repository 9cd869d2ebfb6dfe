//! A real Consul dies, forgets, or denies: what do watchers, members and metrics see? With control runs.

use std::time::Duration;

use lb_registry::fail_static::Settings;
use lb_registry::{
    Consul as Client, Discovery, Instance, Membership, Origin, Registration, Registry, Status,
    Watch,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use testkit::consul::{Consul, MASTER_TOKEN};

#[path = "registry_conformance/http.rs"]
mod http;

const SOON: Duration = Duration::from_secs(20);

fn client(consul: &Consul) -> Client {
    Client::new(&consul.url()).expect("a URL")
}

fn registration(id: &str) -> Registration {
    Registration {
        ttl: Duration::from_secs(60),
        ..Registration::new(Instance::new("web", id, "10.0.0.1", 80))
    }
}

async fn three_registered(registry: &Client) {
    for id in ["a", "b", "c"] {
        registry
            .register(&registration(id))
            .await
            .expect("Consul answers");
    }
}

/// The one place where this file reads the clock.
fn now() -> tokio::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "real servers live in real time")]
    tokio::time::Instant::now()
}

/// Waits until the watch has this many instances.
async fn has(watch: &mut Watch, count: usize) {
    let found = watch.until(|set| !set.is_pending() && set.instances.len() == count);
    let found = tokio::time::timeout(SOON, found).await.is_ok();
    assert!(found, "{} instances instead of {count}", watch_len(watch));
}

fn watch_len(watch: &Watch) -> usize {
    watch.latest().instances.len()
}

async fn is_stale(watch: &mut Watch) {
    let stale = watch.until(|set| matches!(set.origin, Origin::Stale { .. }));
    tokio::time::timeout(SOON, stale)
        .await
        .expect("the doubt is published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_consul_leaves_the_set_as_it_was_and_a_new_empty_one_is_not_believed_at_once() {
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul);
    three_registered(&registry).await;
    let mut watch = registry.watch("web");
    has(&mut watch, 3).await;
    consul.kill();
    is_stale(&mut watch).await;
    assert_eq!(watch_len(&watch), 3);
    // The agent comes back empty: its list is empty until the members have registered again.
    consul.restart().expect("it starts again");
    three_registered(&registry).await;
    let live = watch.until(|set| set.origin == Origin::Live);
    tokio::time::timeout(Duration::from_secs(40), live)
        .await
        .expect("it is believed again");
    assert_eq!(watch_len(&watch), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_without_protection_a_dead_consul_empties_the_set() {
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul).fail_static(Settings::off());
    three_registered(&registry).await;
    let mut watch = registry.watch("web");
    has(&mut watch, 3).await;
    consul.kill();
    has(&mut watch, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_consul_leaves_the_set_as_it_was() {
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul);
    three_registered(&registry).await;
    let mut watch = registry.watch("web");
    has(&mut watch, 3).await;
    consul.freeze();
    // The signal takes effect a moment later.
    let end = now() + SOON;
    while registry.heartbeat("a", Status::Passing, "").await.is_ok() {
        assert!(now() < end, "it still answers");
    }
    assert_eq!(watch_len(&watch), 3);
    consul.thaw();
    registry
        .register(&registration("d"))
        .await
        .expect("it goes on");
    has(&mut watch, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_back_by_themselves_when_the_agent_has_forgotten_them() {
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul);
    let join = |id: &str| {
        Membership::new("web", "10.0.0.1:80")
            .id(id)
            .ttl(Duration::from_secs(6))
            .http_check(None)
            .join(&registry)
    };
    let mut members = [join("a"), join("b"), join("c")];
    for member in &mut members {
        tokio::time::timeout(SOON, member.registered())
            .await
            .expect("it registers");
    }
    consul.restart().expect("it starts again");
    // A third of the TTL plus jitter plus the first back-off.
    let mut watch = client(&consul).watch("web");
    has(&mut watch, 3).await;
    for member in members {
        member.leave().await;
    }
    let left = http::send(consul.port(), "GET", "/v1/agent/services", &[], "").json();
    assert_eq!(left, serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_instance_that_leaves_is_seen_within_the_confirmation_time() {
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul).fail_static(Settings {
        empty_grace: Duration::from_secs(3),
        ..Settings::default()
    });
    registry
        .register(&registration("a"))
        .await
        .expect("Consul answers");
    let mut watch = registry.watch("web");
    has(&mut watch, 1).await;
    registry.deregister("a").await.expect("Consul answers");
    is_stale(&mut watch).await;
    assert_eq!(watch_len(&watch), 1);
    has(&mut watch, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_is_seen_as_draining() {
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul);
    registry
        .register(&registration("a"))
        .await
        .expect("Consul answers");
    let mut watch = registry.watch("web");
    registry
        .set_draining("a", Some("scale in"))
        .await
        .expect("Consul answers");
    let drains = watch.until(|set| {
        set.instances
            .iter()
            .any(|one| one.status == Status::Draining)
    });
    tokio::time::timeout(SOON, drains)
        .await
        .expect("it is seen");
}

/// Makes a token that may read services, and returns its two ids.
fn reader(consul: &Consul) -> (String, String) {
    let headers = [("X-Consul-Token".to_owned(), MASTER_TOKEN.to_owned())];
    let put = |path: &str, body: serde_json::Value| {
        http::send(consul.port(), "PUT", path, &headers, &body.to_string()).json()
    };
    let rules = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    put(
        "/v1/acl/policy",
        serde_json::json!({"Name": "reader", "Rules": rules}),
    );
    let token = put(
        "/v1/acl/token",
        serde_json::json!({"Policies": [{"Name": "reader"}]}),
    );
    let field = |name: &str| token[name].as_str().expect("a token").to_owned();
    (field("AccessorID"), field("SecretID"))
}

/// Metrics of this thread alone: for tests whose runtime has no other.
fn metrics() -> (PrometheusHandle, metrics::LocalRecorderGuard<'static>) {
    let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    (
        recorder.handle(),
        metrics::set_default_local_recorder(recorder),
    )
}

/// Sums up a metric over its labels.
fn value(metrics: &PrometheusHandle, name: &str) -> f64 {
    let text = metrics.render();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[tokio::test]
async fn a_token_that_is_revoked_or_loses_its_rights_does_not_empty_the_set_and_raises_an_alarm() {
    let (metrics, _recording) = metrics();
    let consul = Consul::start_with_rules().expect("a Consul");
    three_registered(&client(&consul).token(MASTER_TOKEN)).await;
    let (accessor, secret) = reader(&consul);
    let quick = Settings {
        empty_grace: Duration::from_millis(500),
        ..Settings::default()
    };
    let mut watch = client(&consul)
        .token(secret)
        .fail_static(quick)
        .watch("web");
    has(&mut watch, 3).await;
    let headers = [("X-Consul-Token".to_owned(), MASTER_TOKEN.to_owned())];
    // Without its policy the token still exists, and Consul answers 200 with an empty list.
    let bare = serde_json::json!({"AccessorID": accessor, "Policies": []}).to_string();
    let changed = http::send(
        consul.port(),
        "PUT",
        &format!("/v1/acl/token/{accessor}"),
        &headers,
        &bare,
    );
    assert_eq!(changed.status, 200, "{}", changed.body);
    client(&consul)
        .token(MASTER_TOKEN)
        .deregister("a")
        .await
        .expect("Consul answers");
    is_stale(&mut watch).await;
    assert_eq!(watch_len(&watch), 3);
    assert_eq!(value(&metrics, "lb_registry_access_denied"), 1.0);
    let gone = http::send(
        consul.port(),
        "DELETE",
        &format!("/v1/acl/token/{accessor}"),
        &headers,
        "",
    );
    assert_eq!(gone.status, 200, "{}", gone.body);
    // Far longer than an empty list would have to be confirmed.
    let emptied = watch.until(|set| set.instances.len() != 3);
    assert!(
        tokio::time::timeout(Duration::from_secs(3), emptied)
            .await
            .is_err()
    );
    assert_eq!(value(&metrics, "lb_registry_access_denied"), 1.0);
    assert_eq!(value(&metrics, "lb_registry_stale"), 1.0);
}

/// The fewest instances that were ever published while a Consul is started anew, empty, and its members come back.
async fn fewest_through_a_restart(settings: Settings) -> usize {
    use futures_util::StreamExt;
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul);
    let join = |id: &str| {
        let membership = Membership::new("web", "10.0.0.1:80")
            .id(id)
            .http_check(None);
        membership.ttl(Duration::from_secs(6)).join(&registry)
    };
    let mut members = [join("a"), join("b"), join("c")];
    for member in &mut members {
        tokio::time::timeout(SOON, member.registered())
            .await
            .expect("it registers");
    }
    let mut watch = client(&consul).fail_static(settings).watch("web");
    has(&mut watch, 3).await;
    let (fewest, seen) = tokio::sync::watch::channel(3);
    let mut sets = watch.clone();
    let counting = tokio::spawn(async move {
        while let Some(set) = sets.next().await {
            fewest.send_modify(|fewest| *fewest = set.instances.len().min(*fewest));
        }
    });
    consul.restart().expect("it starts again");
    let back = || {
        let known = http::send(consul.port(), "GET", "/v1/agent/services", &[], "").json();
        known.as_object().map_or(0, serde_json::Map::len) == 3
    };
    assert!(testkit::wait::until(SOON, back), "the members come back");
    let live = watch.until(|set| set.origin == Origin::Live && set.instances.len() == 3);
    tokio::time::timeout(SOON, live)
        .await
        .expect("it is believed again");
    counting.abort();
    *seen.borrow()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_that_is_not_confirmed_does_not_make_the_set_flap() {
    assert_eq!(fewest_through_a_restart(Settings::default()).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_without_confirmation_the_set_flaps() {
    let believing = Settings {
        stale_max: Duration::from_secs(3_600),
        ..Settings::off()
    };
    // Members that come back before the watch asks leave nothing to be seen; not five times.
    let mut flaps = false;
    for _ in 0..5 {
        flaps = flaps || fewest_through_a_restart(believing).await == 0;
    }
    assert!(flaps);
}

/// Answers every request on a port of its own with 200.
async fn instance() -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                let _ = stream.write_all(answer).await;
            });
        }
    });
    port
}

/// One request to whoever the pool picks; `true` if it was answered with 200.
async fn request(pool: &lb_core::Pool, number: u64) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let now = now().into_std();
    let Ok(lease) = pool.pick(&lb_core::PickCx::new(now, number)) else {
        return false;
    };
    let address = lease.endpoint().uri().to_string();
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    exchange.await.unwrap_or(false)
}

/// Fails and successes of requests through a pool that follows Consul while Consul is dead for `outage`.
async fn load_through_an_outage(settings: Settings, outage: Duration) -> (u64, u64) {
    use futures_util::StreamExt;
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul).fail_static(settings);
    for id in ["a", "b", "c"] {
        let mut one = registration(id);
        (one.instance.address, one.instance.port) = ("127.0.0.1".into(), instance().await);
        one.ttl = Duration::from_secs(600);
        registry.register(&one).await.expect("Consul answers");
    }
    let mut watch = registry.watch("web");
    has(&mut watch, 3).await;
    let sets = watch.clone().map(|set| {
        let spec =
            |one: &std::sync::Arc<Instance>| lb_core::EndpointSpec::new(one.id.as_str(), one.uri());
        set.instances.iter().map(spec).collect::<Vec<_>>()
    });
    let pool = lb_core::Pool::builder("web")
        .discover(sets)
        .build()
        .expect("a valid pool");
    while pool.status().endpoints.len() < 3 {
        tokio::task::yield_now().await;
    }
    consul.kill();
    let (mut failed, mut answered) = (0, 0);
    let end = now() + outage;
    while now() < end {
        match request(&pool, answered + failed).await {
            true => answered += 1,
            false => failed += 1,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (failed, answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn through_an_outage_of_a_minute_no_request_fails() {
    let (failed, answered) =
        load_through_an_outage(Settings::default(), Duration::from_secs(60)).await;
    assert_eq!(failed, 0);
    assert!(answered > 1_000, "only {answered} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_without_protection_requests_fail_during_an_outage() {
    let (failed, _) = load_through_an_outage(Settings::off(), Duration::from_secs(10)).await;
    assert!(failed > 0);
}

#[tokio::test]
async fn ten_watchers_of_a_thousand_instances_ask_in_bounds_and_end_with_equal_sets() {
    let (metrics, _recording) = metrics();
    let began = now();
    let consul = Consul::start().expect("a Consul");
    let registry = client(&consul);
    let mut watches: Vec<Watch> = (0..10).map(|_| registry.watch("web")).collect();
    // Nobody sends heartbeats: no check may run out before all have been compared.
    let lasting = |id: &str| Registration {
        ttl: Duration::from_secs(600),
        ..registration(id)
    };
    for batch in 0..50 {
        let registering = (0..20).map(|one| {
            let registry = registry.clone();
            let instance = lasting(&format!("i{}", batch * 20 + one));
            async move { registry.register(&instance).await.expect("Consul answers") }
        });
        futures_util::future::join_all(registering).await;
        if batch % 5 == 4 {
            // Some leave again while others come.
            registry
                .deregister(&format!("i{}", batch * 20))
                .await
                .expect("Consul answers");
        }
    }
    // Who has seen the last one has seen everything before it.
    registry
        .register(&lasting("last"))
        .await
        .expect("Consul answers");
    for watch in &mut watches {
        let seen = watch.until(|set| set.instances.iter().any(|one| one.id.as_str() == "last"));
        tokio::time::timeout(SOON, seen).await.expect("it arrives");
    }
    let first = watches[0].latest();
    assert_eq!(first.instances.len(), 991);
    assert!(
        watches
            .iter()
            .all(|watch| watch.latest().instances == first.instances)
    );
    // Each may ask twice at once and then once a second, however much changes.
    let most = watches.len() as f64 * (began.elapsed().as_secs_f64() + 3.0);
    let asked = value(&metrics, "lb_registry_answers_total");
    assert!(
        asked > 20.0 && asked <= most,
        "{asked} questions, {most} allowed"
    );
}
