//! A second endpoint beside the first: who is charged, and who is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use lb_core::hedge::Hedge;
use lb_core::retry::{RetryBudget, RetryOn};
use lb_core::{EndpointSpec, Pool, ReverseProxy};

use crate::support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// An endpoint in each of two tiers.
struct Pair {
    pool: Pool,
    /// How often each was asked.
    asked: [Arc<AtomicUsize>; 2],
    _origins: [Origin; 2],
}

impl Pair {
    /// Each says "warm" to its first request, and what it is given to all others.
    fn start(
        first: impl Fn() -> Reply + Send + Sync + 'static,
        second: impl Fn() -> Reply + Send + Sync + 'static,
    ) -> Self {
        let asked: [Arc<AtomicUsize>; 2] = Default::default();
        let origins = [
            Self::origin(&asked[0], first),
            Self::origin(&asked[1], second),
        ];
        let specs = origins.iter().zip(0..).map(|(origin, tier)| {
            EndpointSpec::new(format!("e{tier}"), origin.url()).priority(tier)
        });
        let pool = Pool::builder("tiers").endpoints(specs).build().unwrap();
        Self {
            pool,
            asked,
            _origins: origins,
        }
    }

    fn origin(
        asked: &Arc<AtomicUsize>,
        reply: impl Fn() -> Reply + Send + Sync + 'static,
    ) -> Origin {
        let asked = Arc::clone(asked);
        Origin::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Keep(ok("warm")),
            _ => reply(),
        })
    }

    fn asked(&self, index: usize) -> usize {
        self.asked[index].load(Ordering::SeqCst)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.pool.endpoints()[index].stats().in_flight()
    }

    /// Asks each of them once over a proxy that does not hedge, so that both have a kept
    /// connection.
    async fn warm(&self, proxy: &ReverseProxy) {
        let gateway = serve(proxy.clone()).await;
        for draining in [true, false] {
            self.pool.set_draining(&"e0".into(), draining);
            let answer = Client::connect(gateway).await.ask(GET).await;
            assert_eq!(answer.text(), "warm");
        }
    }
}

/// Waits until the other end is dropped.
fn gate() -> (std::sync::mpsc::Sender<()>, impl Fn() + Send + Sync) {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let wait = move || {
        gate.lock().unwrap().recv().ok();
    };
    (open, wait)
}

fn soon() -> Hedge {
    Hedge::after(Duration::from_millis(20))
}

#[tokio::test]
async fn a_hedge_over_a_kept_connection_that_was_closed_is_nobodys_fault() {
    let (open, wait) = gate();
    let late = move || {
        wait();
        Reply::Keep(ok("good"))
    };
    let pair = Pair::start(late, || Reply::Close(Vec::new()));
    let proxy = pair.pool.reverse_proxy();
    pair.warm(&proxy).await;
    let gateway = serve(proxy.hedge(soon())).await;
    let answer = tokio::spawn(async move { Client::connect(gateway).await.ask(GET).await });
    let over = || pair.asked(1) == 2 && pair.in_flight(1) == 0;
    until("the hedge met a closed connection", over).await;
    assert_eq!(pair.pool.status().endpoints[1].failures_total, 0);
    drop(open);
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "good"));
}

#[tokio::test]
async fn a_first_attempt_that_met_a_closed_connection_beside_its_hedge_is_nobodys_fault() {
    let (close, wait) = gate();
    let (open_hedge, wait_hedge) = gate();
    let closes_late = move || {
        wait();
        Reply::Close(Vec::new())
    };
    let good = move || {
        wait_hedge();
        Reply::Keep(ok("good"))
    };
    let pair = Pair::start(closes_late, good);
    let proxy = pair.pool.reverse_proxy();
    pair.warm(&proxy).await;
    let gateway = serve(proxy.hedge(soon())).await;
    let answer = tokio::spawn(async move { Client::connect(gateway).await.ask(GET).await });
    until("it is hedged", || pair.asked(1) == 2).await;
    drop(close);
    until("the first is over", || pair.in_flight(0) == 0).await;
    drop(open_hedge);
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "good"));
    assert_eq!(pair.pool.status().endpoints[0].failures_total, 0);
}

#[tokio::test]
async fn an_answer_worth_another_endpoint_is_left_to_the_hedge_that_asks_one() {
    let (open, wait) = gate();
    let (open_hedge, wait_hedge) = gate();
    let missing = move || {
        wait();
        Reply::Keep(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".into())
    };
    let good = move || {
        wait_hedge();
        Reply::Keep(ok("good"))
    };
    let pair = Pair::start(missing, good);
    let on = RetryOn::statuses([StatusCode::NOT_FOUND]);
    let proxy = pair.pool.reverse_proxy().attempts(3).retry_on(on);
    pair.warm(&proxy).await;
    let gateway = serve(proxy.hedge(soon())).await;
    let answer = tokio::spawn(async move { Client::connect(gateway).await.ask(GET).await });
    until("it is hedged", || pair.asked(1) == 2).await;
    drop(open);
    until("the first has answered", || pair.in_flight(0) == 0).await;
    assert_eq!(pair.in_flight(1), 1, "it is not asked twice at once");
    drop(open_hedge);
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "good"));
}

fn now() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "the one place of these tests")]
    tokio::time::Instant::now().into_std()
}

#[tokio::test]
async fn what_hedges_answer_quickly_does_not_make_later_hedges_earlier() {
    let late = Duration::from_millis(20);
    let hedge = Hedge::at_quantile(0.5);
    (0..20).for_each(|_| hedge.learn(late, now()));
    let before = hedge.delay(now()).unwrap();
    let pair = Pair::start(|| Reply::Silence, || Reply::Keep(ok("good")));
    let budget = RetryBudget::new(1.0, Duration::from_secs(3_600), 0.0);
    let proxy = pair.pool.reverse_proxy().retry_budget(budget);
    pair.warm(&proxy).await;
    let gateway = serve(proxy.hedge(hedge.clone())).await;
    for _ in 0..30 {
        let answer = Client::connect(gateway).await.ask(GET).await;
        assert_eq!((answer.status, answer.text()), (200, "good"));
    }
    let after = hedge.delay(now()).unwrap();
    assert!(after >= before, "{before:?} became {after:?}");
}
