//! What happens when endpoints fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lb_core::outlier::{OutlierDetection, Reason};
use lb_core::policy::RoundRobin;
use lb_core::proxy::Timeouts;
use lb_core::retry::RetryBudget;
use lb_core::{Cause, Pool, ReverseProxy};

use crate::support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_dead_endpoint_is_not_noticed_by_any_client() {
    let origin = Origin::saying("ok");
    let gateway = serve(pool(&[nobody(), origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..10 {
        // Not even a POST: it was provably never sent.
        let answer = client
            .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            .await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(origin.seen().len(), 10);
}

#[tokio::test]
async fn with_nobody_there_the_answer_is_clear() {
    let gateway = serve(pool(&[nobody()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.text().starts_with(r#"{"error":"unreachable""#),
        "{}",
        answer.text()
    );
    let gateway = serve(pool(&[]).reverse_proxy()).await;
    let answer = Client::connect(gateway)
        .await
        .ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("1"))
    );
}

#[tokio::test]
async fn an_idempotent_request_with_its_body_goes_to_another_endpoint() {
    let broken = Origin::start(|_| Reply::Close(Vec::new()));
    let origin = Origin::saying("ok");
    let gateway = serve(pool(&[broken.url(), origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..6 {
        let answer = client
            .ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
            .await;
        assert_eq!(answer.status, 200);
    }
    assert!(
        origin
            .seen()
            .iter()
            .all(|request| request.ends_with("\r\n\r\nabc"))
    );
    assert!(
        !broken.seen().is_empty(),
        "the control: the broken endpoint was asked"
    );
}

#[tokio::test]
async fn a_post_that_was_sent_is_never_sent_twice() {
    let broken = Origin::start(|_| Reply::Close(Vec::new()));
    let gateway = serve(pool(&[broken.url(), broken.url() + "/"]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let answer = client
        .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(answer.status, 502);
    assert_eq!(broken.seen().len(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_client_a_request() {
    // Answers as if it kept the connection, and closes it.
    let origin = Origin::start(|_| Reply::Close(ok("ok")));
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..20 {
        assert_eq!(
            client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.status,
            200
        );
    }
}

#[tokio::test]
async fn a_post_on_a_kept_connection_that_was_closed_is_charged_to_nobody() {
    // The second request of a connection meets its close.
    let seen = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Keep(ok("ok")),
        _ => Reply::Close(Vec::new()),
    });
    let pool = pool(&[origin.url()]);
    let mut client = Client::connect(serve(pool.reverse_proxy()).await).await;
    assert_eq!(client.ask(GET).await.status, 200);
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(client.ask(post).await.status, 502);
    assert_eq!(origin.seen().len(), 2, "never sent twice");
    let failures = || pool.status().endpoints[0].failures_total;
    assert_eq!(failures(), 0);
    // The control: over a new connection it is the endpoint's answer.
    assert_eq!(client.ask(post).await.status, 502);
    assert_eq!(failures(), 1);
}

#[tokio::test]
async fn a_request_that_breaks_every_connection_is_sent_no_oftener_than_attempts_allow() {
    // Eight connections at once, each broken by whatever comes after.
    let all = std::sync::Barrier::new(8);
    let origin = Origin::start(move |request| {
        if request.starts_with(b"GET / ") {
            all.wait();
            return Reply::Keep(ok("ok"));
        }
        Reply::Close(Vec::new())
    });
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(gateway).await);
        clients.last_mut().unwrap().send(GET).await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    let poison = "GET /poison HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(clients[0].ask(poison).await.status, 502);
    let sent = origin
        .seen()
        .iter()
        .filter(|it| it.contains("/poison"))
        .count();
    assert_eq!(sent, 2, "on a kept connection, and on a new one");
}

#[tokio::test]
async fn a_silent_endpoint_is_a_timeout_and_the_next_one_answers() {
    let silent = Origin::start(|_| Reply::Silence);
    let quick = Timeouts::default().response(Duration::from_millis(50));
    let alone = serve(pool(&[silent.url()]).reverse_proxy().timeouts(quick)).await;
    let answer = Client::connect(alone)
        .await
        .ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(answer.status, 504);
    let origin = Origin::saying("ok");
    let both = pool(&[silent.url(), origin.url()])
        .reverse_proxy()
        .timeouts(quick);
    let mut client = Client::connect(serve(both).await).await;
    for _ in 0..4 {
        assert_eq!(
            client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.status,
            200
        );
    }
}

#[tokio::test]
async fn a_malformed_body_is_the_clients_fault_and_charged_to_nobody() {
    let origin = Origin::saying("ok");
    let pool = pool(&[origin.url()]);
    let failures = Arc::new(AtomicUsize::new(0));
    let gateway = serve(pool.reverse_proxy()).await;
    for body in [
        "+3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcX\r\n0\r\n\r\n",
        "11111111111111111\r\n",
        "zz\r\n",
    ] {
        let mut client = Client::connect(gateway).await;
        let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = client.ask(format!("{head}{body}")).await;
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(client.is_closed().await);
        let stats = pool.endpoints()[0].stats().failures_total() as usize;
        failures.fetch_add(stats, Ordering::Relaxed);
    }
    assert_eq!(failures.load(Ordering::Relaxed), 0);
    assert!(
        origin.seen().is_empty(),
        "half a request counts as one: {:?}",
        origin.seen()
    );
}

#[tokio::test]
async fn a_client_that_leaves_stops_counting() {
    let silent = Origin::start(|_| Reply::Silence);
    let pool = pool(&[silent.url()]);
    let gateway = serve(pool.reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let stats = pool.endpoints()[0].clone();
    until("in flight", || stats.stats().in_flight() == 1).await;
    drop(client);
    until("released", || stats.stats().in_flight() == 0).await;
}

#[tokio::test]
async fn paths_have_rules_of_their_own() {
    use lb_core::proxy::Limits;
    let broken = Origin::start(|_| Reply::Close(Vec::new()));
    let origin = Origin::saying("ok");
    let proxy = pool(&[broken.url(), origin.url()])
        .reverse_proxy()
        .limits(Limits::default().body_bytes(Some(4)))
        .route("/uploads", |policy| {
            policy.limits(Limits::default()).attempts(1)
        });
    let gateway = serve(proxy).await;
    let put =
        |path: &str| format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    let refused = Client::connect(gateway).await.ask(put("/small")).await;
    assert_eq!(refused.status, 413);
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(
            Client::connect(gateway)
                .await
                .ask(put("/uploads/1"))
                .await
                .status,
        );
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502], "one attempt each, in turn");
}

/// Asks one hundred times through a gateway over two endpoints that take every
/// request and close. How many attempts they saw.
async fn attempts_of_a_hundred(change: impl FnOnce(ReverseProxy) -> ReverseProxy) -> usize {
    let broken = [(); 2].map(|()| Origin::start(|_| Reply::Close(Vec::new())));
    let pool = pool(&broken.each_ref().map(Origin::url));
    let gateway = serve(change(pool.reverse_proxy())).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..100 {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(answer.status, 502);
        let reason = r#"{"error":"upstream_closed""#;
        assert!(answer.text().starts_with(reason), "{}", answer.text());
    }
    broken.iter().map(|origin| origin.seen().len()).sum()
}

#[tokio::test]
async fn a_budget_that_is_set_again_and_again_is_no_new_one() {
    let broken = [(); 2].map(|()| Origin::start(|_| Reply::Close(Vec::new())));
    let budget = || RetryBudget::new(0.0, Duration::from_secs(64), 0.25);
    let pool = pool(&broken.each_ref().map(Origin::url));
    let proxy = pool.reverse_proxy().retry_budget(budget());
    let mut client = Client::connect(serve_shared(&proxy).await).await;
    for _ in 0..50 {
        assert_eq!(client.ask(GET).await.status, 502);
        proxy.reconfigure(|proxy| proxy.retry_budget(budget()));
    }
    let attempts: usize = broken.iter().map(|origin| origin.seen().len()).sum();
    assert_eq!(attempts, 66, "sixteen in all");
}

#[tokio::test]
async fn when_everything_fails_retries_stay_within_the_budget() {
    let budget = |ratio| RetryBudget::new(ratio, Duration::from_secs(3_600), 0.0);
    let attempts = attempts_of_a_hundred(|proxy| proxy.retry_budget(budget(0.2))).await;
    assert_eq!(attempts, 120);
    let none = attempts_of_a_hundred(|proxy| proxy.retry_budget(budget(0.0))).await;
    assert_eq!(none, 100);
    // Sixteen in all, and those that find no third endpoint are not lost.
    let constant = RetryBudget::new(0.0, Duration::from_secs(64), 0.25);
    let constant = attempts_of_a_hundred(|proxy| proxy.retry_budget(constant)).await;
    assert_eq!(constant, 116);
    // The control: a budget that cannot be exhausted. Every request is tried twice.
    let unlimited = attempts_of_a_hundred(|proxy| proxy.retry_budget(budget(10.0))).await;
    assert_eq!(unlimited, 200);
}

fn watched(urls: &[String], detection: OutlierDetection) -> Pool {
    let pool = Pool::builder("watched").endpoints(urls.iter().map(String::as_str));
    pool.policy(RoundRobin::default())
        .outlier(detection)
        .build()
        .unwrap()
}

/// How many of fifty requests were answered with a failure.
async fn failures_of_fifty(pool: &Pool) -> usize {
    let mut client = Client::connect(serve(pool.reverse_proxy()).await).await;
    let mut failures = 0;
    for _ in 0..50 {
        let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        failures += usize::from(answer.status == 500);
    }
    failures
}

#[tokio::test]
async fn an_endpoint_that_answers_500_is_ejected_after_five_requests() {
    let broken = Origin::start(|_| {
        Reply::Keep(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec())
    });
    let origin = Origin::saying("ok");
    let urls = [broken.url(), origin.url()];
    let pool = watched(&urls, OutlierDetection::default());
    // Of two endpoints one is no less than the half that health needs to count.
    assert_eq!(failures_of_fifty(&pool).await, 5);
    let out = pool.outlier().unwrap().watched();
    let out: Vec<_> = out.values().filter_map(|one| one.ejection).collect();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].reason, Reason::ConsecutiveFailures);
    // The control: the same with a row that is never complete.
    let never = OutlierDetection::default().consecutive_failures(u32::MAX);
    assert_eq!(failures_of_fifty(&watched(&urls, never)).await, 25);
}

#[tokio::test]
async fn a_clients_malformed_body_is_never_charged_to_an_endpoint() {
    let urls = [Origin::saying("ok").url(), Origin::saying("ok").url()];
    let pool = watched(&urls, OutlierDetection::default().consecutive_failures(1));
    let gateway = serve(pool.reverse_proxy()).await;
    for _ in 0..10 {
        let answer = Client::connect(gateway)
            .await
            .ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
            .await;
        assert_eq!(answer.status, 400);
    }
    let charged = pool.outlier().unwrap().watched();
    assert!(charged.values().all(|one| one.ejections_total == 0));
}

#[tokio::test]
async fn the_unused_connections_of_an_ejected_endpoint_are_closed() {
    let origins = [Origin::saying("a"), Origin::saying("b")];
    let urls = origins.each_ref().map(Origin::url);
    let pool = pool(&urls);
    let kept = Timeouts::default().idle(Duration::from_secs(600));
    let gateway = serve(pool.reverse_proxy().timeouts(kept)).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..4 {
        assert_eq!(client.ask(GET).await.status, 200);
    }
    assert_eq!(pool.status().connections, 2);
    pool.mark(&urls[0].as_str().into(), Cause::Ejected, true);
    let closed = async {
        while pool.status().connections > 1 {
            assert_eq!(client.ask(GET).await.text(), "b");
        }
    };
    tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("closed within a second or so");
}
