//! Time limits, deadlines, second endpoints and what an upstream takes at most.

use std::time::Duration;

use http::{HeaderName, StatusCode};
use lb_core::breaker::{CircuitBreaker, UpstreamLimits};
use lb_core::client::TrustedProxies;
use lb_core::deadline::DeadlineHeader;
use lb_core::hedge::Hedge;
use lb_core::outlier::OutlierDetection;
use lb_core::policy::RoundRobin;
use lb_core::proxy::Timeouts;
use lb_core::retry::{RetryBudget, RetryOn};
use lb_core::{Cause, EndpointSpec, Pool, ReverseProxy};

use crate::support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";

fn silent() -> Origin {
    Origin::start(|_| Reply::Silence)
}

/// Refuses everything and says when to come back.
fn busy() -> Origin {
    let text = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    Origin::start(|_| Reply::Keep(text.into()))
}

fn urls(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(Origin::url).collect()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn ask(proxy: ReverseProxy, request: &str) -> Answer {
    Client::connect(serve(proxy).await).await.ask(request).await
}

fn seen(origins: &[Origin]) -> usize {
    origins.iter().map(|origin| origin.seen().len()).sum()
}

// === time ===

#[tokio::test]
async fn the_total_wins_over_attempts_that_are_left() {
    let origins = [(); 9].map(|()| silent());
    let times = Timeouts::default().per_attempt(millis(120));
    let proxy = |times| {
        pool(&urls(&origins))
            .reverse_proxy()
            .timeouts(times)
            .attempts(9)
    };
    let answer = ask(proxy(times.total(millis(300))), GET).await;
    assert_eq!(answer.status, 504);
    assert!(
        answer.text().contains("deadline_exceeded"),
        "{}",
        answer.text()
    );
    let within = seen(&origins);
    assert!((1..=3).contains(&within), "{within} attempts in 300 ms");
    // The control: without a total the attempts run out, not the time.
    let answer = ask(proxy(times), GET).await;
    assert!(
        answer.text().contains("response_timeout"),
        "{}",
        answer.text()
    );
    assert!(seen(&origins) - within > 3);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_cut_off_by_the_total() {
    let origin =
        Origin::start(|_| Reply::Keep(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()));
    let times = Timeouts::default().total(millis(50)).body(millis(400));
    let proxy = pool(&[origin.url()]).reverse_proxy().timeouts(times);
    let answer = ask(proxy, GET).await;
    // Beyond the total it is still open; its own limit ends it, and it shows.
    assert_eq!((answer.status, answer.complete), (200, false));
}

fn told(timeout: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\nGrpc-Timeout: {timeout}\r\n\r\n")
}

fn here() -> TrustedProxies {
    TrustedProxies::new(["127.0.0.0/8".parse().unwrap()])
}

#[tokio::test]
async fn a_deadline_is_kept_and_what_is_left_is_handed_on() {
    let origin = Origin::saying("ok");
    let proxy = pool(&[origin.url()]).reverse_proxy().trust(here());
    let proxy = proxy.deadline(DeadlineHeader::grpc());
    assert_eq!(ask(proxy.clone(), &told("5S")).await.status, 200);
    let request = &origin.seen()[0];
    let left = request.split("grpc-timeout: ").nth(1).unwrap();
    let left = DeadlineHeader::grpc().read(left.split("\r\n").next().unwrap().as_bytes());
    assert!((1..=5000).contains(&left.unwrap().as_millis()), "{request}");
    let late = pool(&[silent().url()]).reverse_proxy().trust(here());
    let answer = ask(late.deadline(DeadlineHeader::grpc()), &told("80m")).await;
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("deadline_exceeded"));
}

#[tokio::test]
async fn a_deadline_from_strangers_is_neither_believed_nor_handed_on() {
    let origin = Origin::saying("ok");
    let strict = pool(&[origin.url()]).reverse_proxy();
    let strict = strict.deadline(DeadlineHeader::grpc());
    assert_eq!(ask(strict, &told("1n")).await.status, 200);
    assert!(!origin.seen()[0].contains("grpc-timeout"));
    // A quick answer could be earlier than the shortest time that a timer knows.
    let open = pool(&[silent().url()]).reverse_proxy();
    let open = open.deadline(DeadlineHeader::grpc().from_anyone());
    assert_eq!(ask(open, &told("1n")).await.status, 504);
}

#[tokio::test]
async fn impatient_clients_eject_nobody() {
    let origins = [silent(), silent()];
    let builder = Pool::builder("patient").endpoints(urls(&origins));
    let pool = builder
        .outlier(OutlierDetection::default().consecutive_failures(1))
        .build()
        .unwrap();
    let name = HeaderName::from_static("x-timeout-ms");
    let header = DeadlineHeader::millis(name).from_anyone();
    let gateway = serve(pool.reverse_proxy().deadline(header)).await;
    for _ in 0..4 {
        let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Timeout-Ms: 20\r\n\r\n";
        assert_eq!(
            Client::connect(gateway).await.ask(request).await.status,
            504
        );
    }
    let ejected = || {
        pool.endpoints()
            .iter()
            .any(|it| it.stats().has(Cause::Ejected))
    };
    assert!(!ejected());
    // The control: the proxy's own limit is the endpoint's fault.
    let own = Timeouts::default().total(millis(20));
    ask(pool.reverse_proxy().timeouts(own), GET).await;
    assert!(ejected());
}

// === another endpoint ===

#[tokio::test]
async fn a_refusal_is_worth_another_endpoint_if_that_is_wanted() {
    let origins = [busy(), Origin::saying("ok")];
    let proxy = pool(&urls(&origins)).reverse_proxy();
    let gateway = serve(proxy.clone().retry_on(RetryOn::gateway_errors())).await;
    let mut client = Client::connect(gateway).await;
    for _ in 0..6 {
        assert_eq!(client.ask(GET).await.status, 200);
    }
    assert!(!origins[0].seen().is_empty(), "the busy one was asked");
    // The control, and what may not be sent twice.
    let mut plain = Client::connect(serve(proxy).await).await;
    let mut statuses = [plain.ask(GET).await.status, plain.ask(GET).await.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    let mut statuses = [client.ask(POST).await.status, client.ask(POST).await.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
}

#[tokio::test]
async fn without_another_endpoint_or_budget_the_refusal_itself_is_the_answer() {
    let alone = pool(&[busy().url()]).reverse_proxy();
    let answer = ask(alone.retry_on(RetryOn::gateway_errors()), GET).await;
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("7"))
    );
    let origins = [busy(), busy(), busy()];
    let budget = RetryBudget::new(0.5, Duration::from_secs(3_600), 0.0);
    let proxy = pool(&urls(&origins)).reverse_proxy().retry_budget(budget);
    let mut client = Client::connect(serve(proxy.retry_on(RetryOn::gateway_errors())).await).await;
    for _ in 0..20 {
        assert_eq!(client.ask(GET).await.status, 503);
    }
    assert_eq!(seen(&origins), 30, "half of twenty on top, exactly");
}

#[tokio::test]
async fn when_the_first_tier_fails_the_second_answers_the_same_request() {
    let origins = [
        Origin::start(|_| Reply::Close(Vec::new())),
        Origin::start(|_| Reply::Close(Vec::new())),
        Origin::saying("ok"),
    ];
    let specs = origins.iter().enumerate().map(|(index, origin)| {
        EndpointSpec::new(format!("e{index}"), origin.url()).priority(u32::from(index == 2))
    });
    let pool = Pool::builder("tiers").endpoints(specs).build().unwrap();
    let answer = ask(pool.reverse_proxy(), GET).await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(seen(&origins[..2]), 2, "its own tier was tried first");
}

#[tokio::test]
async fn a_late_endpoint_is_hedged_and_the_first_answer_wins() {
    let origins = [silent(), Origin::saying("ok")];
    let pool = pool(&urls(&origins));
    let proxy = pool.reverse_proxy().hedge(Hedge::after(millis(30)));
    let gateway = serve(proxy).await;
    for _ in 0..4 {
        assert_eq!(Client::connect(gateway).await.ask(GET).await.status, 200);
    }
    assert!(!origins[0].seen().is_empty(), "some began there");
    let busy = || pool.endpoints().iter().any(|it| it.stats().in_flight() > 0);
    until("the losers are cancelled", || !busy()).await;
    assert_eq!(
        pool.status().endpoints[0].failures_total,
        0,
        "nobody is charged"
    );
}

#[tokio::test]
async fn a_hedge_needs_a_safe_request_and_something_left_in_the_budget() {
    let origins = [silent(), silent()];
    let quick = Timeouts::default().total(millis(150));
    let proxy = pool(&urls(&origins)).reverse_proxy().timeouts(quick);
    let proxy = proxy.hedge(Hedge::after(millis(10)));
    let none = RetryBudget::new(0.0, Duration::from_secs(60), 0.0);
    assert_eq!(ask(proxy.clone().retry_budget(none), GET).await.status, 504);
    assert_eq!(seen(&origins), 1, "no budget");
    assert_eq!(ask(proxy.clone(), POST).await.status, 504);
    assert_eq!(seen(&origins), 2, "not a POST");
    assert_eq!(ask(proxy, GET).await.status, 504);
    assert_eq!(seen(&origins), 4, "the control: one hedge, not more");
}

#[tokio::test]
async fn a_hedge_that_fails_fast_does_not_beat_a_good_answer() {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let good = Origin::start(move |_| {
        // Until the other end is dropped.
        gate.lock().unwrap().recv().ok();
        Reply::Keep(ok("good"))
    });
    let origins = [good, busy()];
    let specs = origins.iter().enumerate().map(|(index, origin)| {
        EndpointSpec::new(format!("e{index}"), origin.url()).priority(u32::from(index == 1))
    });
    let pool = Pool::builder("tiers").endpoints(specs).build().unwrap();
    let proxy = pool.reverse_proxy().hedge(Hedge::after(millis(5)));
    let answer = tokio::spawn(ask(proxy, GET));
    let refused = || pool.status().endpoints[1].failures_total == 1;
    until("the hedge is refused", refused).await;
    drop(open);
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "good"));
}

// === how much an upstream takes ===

#[tokio::test]
async fn a_connection_too_many_is_refused_at_once_and_charged_to_nobody() {
    let origin = silent();
    let builder = Pool::builder("one").endpoints([origin.url()]);
    let limits = UpstreamLimits::default().connections_per_endpoint(1);
    let pool = builder.limits(limits).build().unwrap();
    let gateway = serve(pool.reverse_proxy()).await;
    let mut first = Client::connect(gateway).await;
    first.send(GET).await;
    until("it is connected", || !origin.seen().is_empty()).await;
    assert_eq!((pool.status().connections, pool.status().pending), (1, 0));
    let mut second = Client::connect(gateway).await;
    let answer = second.ask(GET).await;
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("1"))
    );
    assert!(answer.text().contains("overloaded"), "{}", answer.text());
    assert_eq!(pool.status().endpoints[0].failures_total, 0);
    drop(first);
    until("the connection is gone", || pool.status().connections == 0).await;
    pool.set_limits(UpstreamLimits::default()).unwrap();
    second.send(GET).await;
    until("it is served again", || origin.seen().len() == 2).await;
}

#[tokio::test]
async fn an_open_circuit_answers_at_once_and_recovers_by_itself() {
    let down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = std::sync::Arc::clone(&down);
    let origin = Origin::start(move |_| {
        if state.load(std::sync::atomic::Ordering::SeqCst) {
            return Reply::Keep(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".into());
        }
        Reply::Keep(ok("ok"))
    });
    let breaker = CircuitBreaker::default()
        .open_for(millis(50))
        .longest(millis(100));
    let builder = Pool::builder("one").endpoints([origin.url()]);
    let pool = builder.breaker(breaker).build().unwrap();
    let mut client = Client::connect(serve(pool.reverse_proxy()).await).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(client.ask(GET).await.status);
    }
    assert_eq!(statuses[..5], [500; 5]);
    assert!(statuses[5..].contains(&503), "{statuses:?}");
    down.store(false, std::sync::atomic::Ordering::SeqCst);
    while client.ask(GET).await.status != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.status().endpoints[0].circuit, "closed");
}

#[tokio::test]
async fn one_attempt_is_one_whatever_is_worth_another() {
    let origins = [busy(), busy()];
    let builder = Pool::builder("two").endpoints(urls(&origins));
    let pool = builder.policy(RoundRobin::default()).build().unwrap();
    let on = RetryOn::statuses([StatusCode::SERVICE_UNAVAILABLE]);
    let proxy = pool.reverse_proxy().retry_on(on).attempts(1);
    assert_eq!(ask(proxy, GET).await.status, 503);
    assert_eq!(seen(&origins), 1, "one attempt is one");
}

// === bodies ===

#[tokio::test]
async fn an_endpoint_that_breaks_its_answers_off_is_ejected() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let origins = [
        Origin::start(move |_| Reply::Close(text.into())),
        Origin::saying("whole"),
    ];
    let detection = OutlierDetection::default().consecutive_failures(2);
    let pool = Pool::builder("breaking")
        .endpoints(urls(&origins))
        .policy(RoundRobin::default())
        .outlier(detection)
        .build()
        .unwrap();
    let gateway = serve(pool.reverse_proxy()).await;
    for _ in 0..8 {
        let mut client = Client::connect(gateway).await;
        client.send(GET).await;
        client.answer().await;
    }
    let is_ejected = |origin: &Origin| {
        let endpoint = pool.endpoint(&origin.url().into()).unwrap();
        endpoint.stats().has(Cause::Ejected)
    };
    until("ejected", || is_ejected(&origins[0])).await;
    assert!(!is_ejected(&origins[1]), "whole answers are no failures");
}

#[tokio::test]
async fn settings_change_for_all_clones_while_they_serve() {
    let origins = [silent(), Origin::saying("ok")];
    let quick = Timeouts::default().per_attempt(millis(30));
    let proxy = pool(&urls(&origins)).reverse_proxy().timeouts(quick);
    let proxy = proxy.attempts(1);
    let mut client = Client::connect(serve_shared(&proxy).await).await;
    let mut statuses = [client.ask(GET).await.status, client.ask(GET).await.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
    proxy.reconfigure(|proxy| proxy.attempts(2));
    for _ in 0..4 {
        assert_eq!(client.ask(GET).await.status, 200);
    }
}

#[tokio::test]
async fn retries_and_hedges_are_paid_from_one_budget() {
    const REQUESTS: usize = 30;
    let closes = || Origin::start(|_| Reply::Close(Vec::new()));
    let all = |share: f64| async move {
        let origins = [silent(), busy(), closes(), silent(), busy()];
        let times = Timeouts::default().per_attempt(millis(20));
        let budget = RetryBudget::new(share, Duration::from_secs(3_600), 0.0);
        let proxy = pool(&urls(&origins)).reverse_proxy().timeouts(times);
        let proxy = proxy
            .retry_budget(budget)
            .retry_on(RetryOn::gateway_errors());
        let gateway = serve(proxy.hedge(Hedge::after(millis(5))).attempts(4)).await;
        for _ in 0..REQUESTS {
            let status = Client::connect(gateway).await.ask(GET).await.status;
            assert!((502..=504).contains(&status), "{status}");
        }
        seen(&origins)
    };
    let within = all(0.2).await;
    assert!(
        (REQUESTS..=REQUESTS + REQUESTS / 5).contains(&within),
        "{within}"
    );
    // The control: a budget that cannot be exhausted.
    let without = all(10.0).await;
    assert!(without > 2 * REQUESTS, "{without}");
}
