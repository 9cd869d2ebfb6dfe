//! Affinity by signed headers and by keys, what happens when the endpoint is
//! gone, and what the proxy takes out of answers.

use std::time::Duration;

use lb_core::affinity::OnDown;
use lb_core::client::TrustedProxies;
use lb_core::policy::{ConsistentHash, PolicyConfig, RoundRobin};
use lb_core::{Affinity, Cause, EndpointSpec, Pool};

use crate::support::*;

const KEY: &str = "a secret of sixteen bytes";

fn pool(origins: &[Origin], policy: impl Into<PolicyConfig>, affinity: Affinity) -> Pool {
    let spec =
        |(at, origin): (usize, &Origin)| EndpointSpec::new(format!("sim-{at}"), origin.url());
    let pool = Pool::builder("test").endpoints(origins.iter().enumerate().map(spec));
    pool.policy(policy).affinity(affinity).build().unwrap()
}

fn origins() -> [Origin; 3] {
    ["a", "b", "c"].map(Origin::saying)
}

fn id_of(text: &str) -> lb_core::EndpointId {
    format!("sim-{}", text.as_bytes()[0] - b'a').into()
}

/// Body and head of the answer to a GET with these fields.
async fn ask(gateway: std::net::SocketAddr, target: &str, fields: &str) -> (String, String) {
    let mut client = Client::connect(gateway).await;
    client
        .send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
        .await;
    client.answer_as_sent().await
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n")
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_signed_header_binds_as_a_cookie_does_on_every_gateway() {
    let origins = origins();
    let make = || {
        pool(
            &origins,
            RoundRobin::default(),
            Affinity::signed_header("x-session", KEY),
        )
    };
    let gateways = [
        serve(make().reverse_proxy()).await,
        serve(make().reverse_proxy()).await,
    ];
    let (home, head) = ask(gateways[0], "/", "").await;
    let token = field(&head, "x-session").expect("a token").to_owned();
    for gateway in [0, 1, 0, 1, 1] {
        let (text, head) = ask(gateways[gateway], "/", &format!("X-Session: {token}\r\n")).await;
        assert_eq!(text, home);
        assert_eq!(field(&head, "x-session"), None, "still valid");
    }
    let other = if token.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("X-Session: {other}{}\r\n", &token[1..]);
    let texts = [
        ask(gateways[0], "/", &forged).await.0,
        ask(gateways[0], "/", &forged).await.0,
    ];
    assert_ne!(texts[0], texts[1], "balanced in turn");
}

#[tokio::test]
async fn a_replayed_cookie_of_a_former_life_and_a_doubled_one_pin_nobody() {
    let origins = origins();
    let pool = pool(&origins, RoundRobin::default(), Affinity::cookie("lb", KEY));
    let gateway = serve(pool.reverse_proxy()).await;
    let (home, head) = ask(gateway, "/", "").await;
    let cookie = field(&head, "set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let doubled = format!("Cookie: lb=forged; {cookie}; {cookie}\r\nCookie: {cookie}\r\n");
    for _ in 0..4 {
        assert_eq!(
            ask(gateway, "/", &doubled).await.0,
            home,
            "the first valid one counts"
        );
    }
    let reborn = |(at, origin): (usize, &Origin)| {
        EndpointSpec::new(format!("sim-{at}"), origin.url()).incarnation(1)
    };
    pool.set_endpoints(origins.iter().enumerate().map(reborn))
        .unwrap();
    let (_, head) = ask(gateway, "/", &format!("Cookie: {cookie}\r\n")).await;
    assert!(
        field(&head, "set-cookie").is_some(),
        "bound anew, to a life that is"
    );
}

#[tokio::test]
async fn equal_keys_meet_on_one_endpoint_of_every_gateway() {
    let origins = origins();
    let cases = [
        (Affinity::header("x-tenant"), "/", "X-Tenant: acme\r\n"),
        (Affinity::path_segment(1), "/tenant/acme/run", ""),
        (Affinity::query("tenant"), "/run?x=1&tenant=acme", ""),
    ];
    for (affinity, target, fields) in cases {
        let make = || pool(&origins, ConsistentHash::default(), affinity.clone());
        let gateways = [
            serve(make().reverse_proxy()).await,
            serve(make().reverse_proxy()).await,
        ];
        let home = ask(gateways[0], target, fields).await.0;
        for gateway in [0, 1, 0, 1] {
            let (text, head) = ask(gateways[gateway], target, fields).await;
            assert_eq!(text, home, "{target}");
            assert_eq!(field(&head, "set-cookie"), None);
        }
    }
}

#[tokio::test]
async fn a_client_address_is_believed_from_trusted_proxies_only() {
    let origins = origins();
    let home_of = |trusted: &'static str| {
        let networks = (!trusted.is_empty()).then(|| trusted.parse().unwrap());
        let affinity = Affinity::client_address(TrustedProxies::new(networks));
        pool(&origins, ConsistentHash::default(), affinity)
    };
    let spread = async |gateway| {
        let mut homes = std::collections::BTreeSet::new();
        for client in 0..30 {
            let fields = format!("X-Forwarded-For: 203.0.113.{client}\r\n");
            homes.insert(ask(gateway, "/", &fields).await.0);
        }
        homes.len()
    };
    let open = serve(home_of("").reverse_proxy()).await;
    assert_eq!(spread(open).await, 1, "30 lies of one client");
    let behind = serve(home_of("127.0.0.0/8").reverse_proxy()).await;
    assert_eq!(spread(behind).await, 3, "30 clients of a trusted proxy");
}

#[tokio::test]
async fn without_a_memory_keys_leave_a_draining_endpoint() {
    let origins = origins();
    let pool = pool(
        &origins,
        ConsistentHash::default(),
        Affinity::header("x-tenant"),
    );
    let gateway = serve(pool.reverse_proxy()).await;
    let home = ask(gateway, "/", "X-Tenant: a\r\n").await.0;
    pool.set_draining(&id_of(&home), true);
    assert_ne!(ask(gateway, "/", "X-Tenant: a\r\n").await.0, home);
}

#[tokio::test]
async fn a_session_waits_for_its_endpoint_or_is_refused() {
    let origins = origins();
    for (on_down, returns) in [
        (OnDown::Fail, false),
        (OnDown::Wait(Duration::from_millis(150)), false),
        (OnDown::Wait(PATIENCE), true),
    ] {
        let affinity = Affinity::cookie("lb", KEY).on_down(on_down);
        let pool = pool(&origins, RoundRobin::default(), affinity);
        let gateway = serve(pool.reverse_proxy()).await;
        let (home, head) = ask(gateway, "/", "").await;
        let cookie = field(&head, "set-cookie")
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        pool.mark(&id_of(&home), Cause::Unhealthy, true);
        let fields = format!("Cookie: {cookie}\r\n");
        let asking = ask(gateway, "/", &fields);
        let returning = async {
            if returns {
                tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>())
                    .await
                    .ok();
                pool.mark(&id_of(&home), Cause::Unhealthy, false);
            }
        };
        let ((text, head), ()) = tokio::join!(asking, returning);
        if returns {
            assert_eq!(text, home);
        } else {
            assert!(head.contains(" 503 "), "{on_down:?}: {head}");
            assert!(text.contains("session_endpoint_down"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_session_waits_for_an_endpoint_that_refuses_connections() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let once = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let text = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(text.as_bytes()).unwrap();
    });
    let affinity = Affinity::cookie("lb", KEY).on_down(OnDown::Wait(PATIENCE));
    let builder = Pool::builder("test").endpoints([format!("http://{address}")]);
    let pool = builder.affinity(affinity).build().unwrap();
    let gateway = serve(pool.reverse_proxy()).await;
    let (_, head) = ask(gateway, "/", "").await;
    once.join().unwrap();
    let cookie = field(&head, "set-cookie").unwrap();
    let fields = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let failures = || pool.status().endpoints[0].failures_total;
    let returning = async {
        until("it was asked in vain", || failures() == 1).await;
        // Longer than all attempts of a request take.
        let pause = std::future::pending::<()>();
        let pause = tokio::time::timeout(Duration::from_millis(1_100), pause);
        pause.await.unwrap_err();
        let listener = std::net::TcpListener::bind(address).unwrap();
        Origin::on(listener, |_| Reply::Keep(ok("back")))
    };
    let ((text, _), origin) = tokio::join!(ask(gateway, "/", &fields), returning);
    assert_eq!((text.as_str(), origin.seen().len()), ("back", 1));
    assert_eq!(failures(), 1, "charged once");
}

#[tokio::test]
async fn load_reports_are_taken_in_and_never_reach_the_client() {
    let reporting = |text: &'static str| {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{text}\r\n");
        Origin::start(move |_| Reply::Keep(answer.clone().into_bytes()))
    };
    let cases = [
        (
            "Endpoint-Load-Metrics: TEXT cpu_utilization=0.25\r\n",
            Some(0.25),
        ),
        (
            "endpoint-load-metrics: JSON {\"cpu_utilization\":0.5}\r\n",
            Some(0.5),
        ),
        ("endpoint-load-metrics: TEXT cpu_utilization=NaN\r\n", None),
        ("endpoint-load-metrics-bin: AAAA\r\n", None),
        // Found by fuzzing: names with control characters could not be told on.
        (
            "endpoint-load-metrics: TEXT cpu_utilization=0.5,named_metrics.a\tb=1\r\n",
            None,
        ),
        (
            "endpoint-load-metrics: TEXT cpu_utilization=0.5,named_metrics.a\u{85}b=1\r\n",
            None,
        ),
        (
            "endpoint-load-metrics: JSON {\"cpu_utilization\":0.5,\"a\tb\":1}\r\n",
            None,
        ),
    ];
    for (text, cpu) in cases {
        let origin = reporting(text);
        let pool = Pool::builder("test")
            .endpoints([origin.url()])
            .build()
            .unwrap();
        let gateway = serve(pool.reverse_proxy()).await;
        let (_, head) = ask(gateway, "/", "").await;
        assert!(
            head.contains(" 200 ") && !head.contains("load-metrics"),
            "{head}"
        );
        let report = pool.status().endpoints[0].report.clone();
        assert_eq!(
            report.and_then(|report| report.cpu_utilization),
            cpu,
            "{text}"
        );
    }
}

#[tokio::test]
async fn who_knows_the_key_is_told_how_the_answer_came_about() {
    let origins = [Origin::saying("a")];
    let specs = [
        EndpointSpec::new("dead", "http://127.0.0.1:1"),
        EndpointSpec::new("live", origins[0].url()),
    ];
    let pool = Pool::builder("test")
        .endpoints(specs)
        .policy(RoundRobin::default());
    let pool = pool.affinity(Affinity::cookie("lb", KEY)).build().unwrap();
    let gateway = serve(pool.reverse_proxy().explain("open sesame")).await;
    let told = async || {
        let (_, head) = ask(gateway, "/", "X-Lb-Explain: open sesame\r\n").await;
        field(&head, "x-lb-explain").expect("told").to_owned()
    };
    let retried = "endpoint=live; by=round_robin; attempts=2; failed: dead=unreachable";
    let both = [told().await, told().await];
    assert!(both.iter().any(|told| told == retried), "{both:?}");
    pool.set_draining(&"dead".into(), true);
    assert_eq!(told().await, "endpoint=live; by=round_robin; attempts=1");
    for wrong in ["X-Lb-Explain: open\r\n", ""] {
        let (_, head) = ask(gateway, "/", wrong).await;
        assert_eq!(field(&head, "x-lb-explain"), None);
    }
    let seen = origins[0].seen().join("").to_ascii_lowercase();
    assert!(!seen.contains("x-lb-explain"), "{seen}");
}

#[tokio::test]
async fn new_tunnels_go_to_the_endpoint_that_was_added_and_all_are_released() {
    use crate::tunnels::{ACCEPTED, HANDSHAKE, echo};

    let urls = [
        echo(ACCEPTED).await,
        echo(ACCEPTED).await,
        echo(ACCEPTED).await,
    ];
    let spec = |at: usize| EndpointSpec::new(format!("sim-{at}"), &urls[at]);
    let pool = Pool::builder("test")
        .endpoints([spec(0), spec(1)])
        .build()
        .unwrap();
    let proxy = pool.reverse_proxy();
    let gateway = serve(proxy.clone()).await;
    let counts = || {
        pool.status()
            .endpoints
            .iter()
            .map(|one| one.in_flight)
            .collect::<Vec<_>>()
    };
    let mut clients = Vec::new();
    let mut connect = async |count: usize| {
        for _ in 0..count {
            let mut client = Client::connect(gateway).await;
            assert_eq!(client.ask(HANDSHAKE).await.status, 101);
            clients.push(client);
        }
    };
    connect(4).await;
    assert_eq!(counts(), [2, 2]);
    pool.set_endpoints([spec(0), spec(1), spec(2)]).unwrap();
    connect(2).await;
    assert_eq!(counts(), [2, 2, 2]);
    clients.clear();
    until("all tunnels have ended", || proxy.tunnels() == 0).await;
    assert_eq!(counts(), [0, 0, 0]);
}
