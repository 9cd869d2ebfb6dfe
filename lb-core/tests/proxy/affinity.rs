//! Cookies on the way through the proxy.

use lb_core::policy::RoundRobin;
use lb_core::{Affinity, EndpointSpec, Pool};

use crate::support::*;

const KEY: &str = "a secret of sixteen bytes";

fn specs(origins: &[&Origin]) -> Vec<EndpointSpec> {
    let spec =
        |(at, origin): (usize, &&Origin)| EndpointSpec::new(format!("sim-{at}"), origin.url());
    origins.iter().enumerate().map(spec).collect()
}

fn bound_pool(origins: &[&Origin]) -> Pool {
    Pool::builder("test")
        .endpoints(specs(origins))
        .policy(RoundRobin::default())
        .affinity(Affinity::cookie("lb", KEY))
        .build()
        .unwrap()
}

async fn ask(gateway: std::net::SocketAddr, cookie: &str) -> (String, Option<String>) {
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\n\r\n");
    let mut client = Client::connect(gateway).await;
    client.send(&request).await;
    let raw = client.answer_as_sent().await;
    let set = raw
        .1
        .split("\r\n")
        .find_map(|line| line.strip_prefix("set-cookie: "));
    (
        raw.0,
        set.map(|set| set.split(';').next().unwrap().to_owned()),
    )
}

#[tokio::test]
async fn a_client_stays_where_it_began_and_every_gateway_agrees() {
    let (a, b, c) = (
        Origin::saying("a"),
        Origin::saying("b"),
        Origin::saying("c"),
    );
    let first = serve(bound_pool(&[&a, &b, &c]).reverse_proxy()).await;
    let second = serve(bound_pool(&[&a, &b, &c]).reverse_proxy()).await;
    let (home, cookie) = ask(first, "none=1").await;
    let cookie = cookie.expect("a binding");
    for gateway in [first, second, first, second] {
        let (text, set) = ask(gateway, &cookie).await;
        assert_eq!(text, home);
        assert_eq!(set, None, "a valid binding is not written again");
    }
}

#[tokio::test]
async fn a_session_moves_only_when_its_endpoint_is_gone() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let pool = bound_pool(&[&a, &b]);
    let gateway = serve(pool.reverse_proxy()).await;
    let (home, cookie) = ask(gateway, "x=1").await;
    let cookie = cookie.unwrap();
    let stay = if home == "a" { 1 } else { 0 };
    pool.set_endpoints([specs(&[&a, &b])[stay].clone()])
        .unwrap();
    let (text, moved) = ask(gateway, &cookie).await;
    assert_ne!(text, home);
    let moved = moved.expect("a new binding");
    pool.set_endpoints(specs(&[&a, &b])).unwrap();
    assert_eq!(ask(gateway, &moved).await.0, text);
}

#[tokio::test]
async fn one_failed_request_does_not_move_a_session() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let fails = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&fails);
    let a = Origin::start(move |_| {
        if flag.load(Ordering::SeqCst) {
            Reply::Close(Vec::new())
        } else {
            Reply::Keep(ok("a"))
        }
    });
    let b = Origin::saying("b");
    let pool = bound_pool(&[&a]);
    let gateway = serve(pool.reverse_proxy()).await;
    let cookie = ask(gateway, "x=1").await.1.unwrap();
    pool.set_endpoints(specs(&[&a, &b])).unwrap();
    fails.store(true, Ordering::SeqCst);
    assert_eq!(ask(gateway, &cookie).await, ("b".to_owned(), None));
    fails.store(false, Ordering::SeqCst);
    assert_eq!(ask(gateway, &cookie).await, ("a".to_owned(), None));
}

#[tokio::test]
async fn forged_cookies_pin_nobody() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let gateway = serve(bound_pool(&[&a, &b]).reverse_proxy()).await;
    let cookie = ask(gateway, "x=1").await.1.unwrap();
    let other_key = Pool::builder("other")
        .endpoints(specs(&[&a]))
        .affinity(Affinity::cookie("lb", "some other secret key"))
        .build()
        .unwrap();
    let foreign = ask(serve(other_key.reverse_proxy()).await, "x=1")
        .await
        .1
        .unwrap();
    let huge = format!("lb={}", "A".repeat(8 << 10));
    for forged in [
        &cookie[..cookie.len() - 1],
        &foreign,
        &huge,
        "lb=",
        "lb=sim-0",
        "lb",
    ] {
        let (one, set) = ask(gateway, forged).await;
        let (two, _) = ask(gateway, forged).await;
        assert!(set.is_some(), "{forged}: treated as no binding");
        assert_ne!(one, two, "{forged}: balanced in turn");
    }
}
