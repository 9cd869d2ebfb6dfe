use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use http::{HeaderMap, Request, Response, StatusCode, header};
use tower::{Service, ServiceExt, service_fn};

use super::*;
use crate::endpoint::{Endpoint, Observation, Observer};
use crate::policy::RoundRobin;
use crate::report::ReportLayer;
use crate::{Affinity, EndpointSpec, Pool};

mod timing;

fn router(name: &'static str) -> Router {
    Router::new().route("/", get(move || async move { name }))
}

fn request() -> Request<Body> {
    Request::new(Body::empty())
}

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = to_bytes(Body::new(response.into_body()), 10_000).await;
    String::from_utf8(body.unwrap().to_vec()).unwrap()
}

fn in_flight(pool: &Pool) -> u32 {
    pool.status()
        .endpoints
        .iter()
        .map(|endpoint| endpoint.in_flight)
        .sum()
}

/// A service that is ready when told so.
#[derive(Clone)]
struct Gated {
    name: &'static str,
    open: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl Gated {
    fn new(name: &'static str, open: bool) -> Self {
        Self {
            name,
            open: Arc::new(AtomicBool::new(open)),
            calls: Arc::default(),
        }
    }
}

impl Service<Request<Body>> for Gated {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.open.load(Ordering::SeqCst) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::new(Body::from(self.name))))
    }
}

#[tokio::test]
async fn every_router_gets_its_share() {
    let service = Balance::over("app", ["a", "b", "c"].map(|name| (name, router(name)))).unwrap();
    service.pool().set_policy(RoundRobin::default()).unwrap();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..30 {
        let response = service.clone().oneshot(request()).await.unwrap();
        *seen.entry(text(response).await).or_insert(0) += 1;
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [10, 10, 10]);
    assert_eq!(in_flight(service.pool()), 0);
}

#[tokio::test]
async fn a_request_counts_until_its_body_ends() {
    let service = Balance::over("app", [("a", router("a"))]).unwrap();
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(in_flight(service.pool()), 1);
    assert_eq!(text(response).await, "a");
    assert_eq!(in_flight(service.pool()), 0);
    let unread = service.clone().oneshot(request()).await.unwrap();
    drop(unread);
    assert_eq!(in_flight(service.pool()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_endpoint_is_left_before_the_request_has_moved() {
    let (busy, free) = (Gated::new("busy", false), Gated::new("free", true));
    let services = [("busy", busy.clone()), ("free", free.clone())];
    let service = Balance::over("app", services).unwrap();
    service.pool().set_policy(RoundRobin::default()).unwrap();
    for _ in 0..10 {
        let response = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(text(response).await, "free");
    }
    assert_eq!(busy.calls.load(Ordering::SeqCst), 0);
    assert_eq!(free.calls.load(Ordering::SeqCst), 10);
    assert_eq!(in_flight(service.pool()), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_readiness_ends_with_503() {
    let service = Balance::over("app", [("busy", Gated::new("busy", false))]).unwrap();
    let start = crate::clock::now();
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let waited = crate::clock::now() - start;
    assert!(
        waited >= Duration::from_secs(1) && waited < Duration::from_secs(2),
        "{waited:?}"
    );
}

#[tokio::test]
async fn an_error_of_the_service_is_a_502_that_keeps_its_cause() {
    let broken = service_fn(|_: Request<Body>| ready(Err::<Response<Body>, _>("no disk")));
    let service = Balance::over("app", [("a", broken)]).unwrap();
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let cause = response.extensions().get::<BalanceError>().unwrap();
    let source = std::error::Error::source(cause).unwrap();
    assert_eq!(source.to_string(), "no disk");
    assert_eq!(service.pool().status().endpoints[0].failures_total, 1);
}

#[tokio::test]
async fn a_cancelled_request_stops_counting() {
    let stuck = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let service = Balance::over("app", [("a", stuck)]).unwrap();
    let mut running = by_hand(service.clone().oneshot(request()));
    assert!(running.poll_once().await.is_pending());
    assert_eq!(in_flight(service.pool()), 1);
    drop(running);
    assert_eq!(in_flight(service.pool()), 0);
    assert_eq!(service.pool().status().endpoints[0].failures_total, 0);
}

/// A future that is polled by hand.
struct ByHand<F>(std::pin::Pin<Box<F>>);

fn by_hand<F: Future>(future: F) -> ByHand<F> {
    ByHand(Box::pin(future))
}

impl<F: Future> ByHand<F> {
    async fn poll_once(&mut self) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(self.0.as_mut().poll(cx))).await
    }
}

#[tokio::test]
async fn nobody_is_503_and_says_so() {
    let service = Balance::new(Pool::builder("empty").build().unwrap(), |_| router("a"));
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(response).await.contains("no_endpoint"));
}

#[tokio::test]
async fn a_new_incarnation_gets_a_new_service() {
    let made = Arc::new(AtomicU32::new(0));
    let pool = Pool::builder("app")
        .endpoints(["local://a"])
        .build()
        .unwrap();
    let count = Arc::clone(&made);
    let service = Balance::new(pool.clone(), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        router("a")
    });
    for incarnation in [0, 0, 1, 1] {
        let spec = EndpointSpec::new("local://a", "local://a").incarnation(incarnation);
        pool.set_endpoints([spec]).unwrap();
        let response = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn one_value_that_is_called_again_and_again_follows_the_members() {
    const NAMES: [&str; 3] = ["first", "second", "third"];
    let pool = Pool::builder("app").build().unwrap();
    let life = |endpoint: &Endpoint| router(NAMES[endpoint.incarnation() as usize]);
    let mut service = Balance::new(pool.clone(), life);
    for (incarnation, name) in (0..).zip(NAMES) {
        let spec = EndpointSpec::new("local://a", "local://a").incarnation(incarnation);
        pool.set_endpoints([spec]).unwrap();
        for _ in 0..4 {
            let response = service.call(request()).await.unwrap();
            assert_eq!(text(response).await, name);
        }
    }
}

#[tokio::test]
async fn each_of_many_endpoints_has_one_service_until_it_leaves() {
    const N: u32 = 300;
    let made = Arc::new(AtomicU32::new(0));
    let specs = |life: u64| {
        (0..N).map(move |i| EndpointSpec::new(format!("e{i}"), "local://x").incarnation(life))
    };
    let pool = Pool::builder("app").endpoints(specs(0));
    let pool = pool.policy(RoundRobin::default()).build().unwrap();
    let (count, alive) = (Arc::clone(&made), Arc::new(AtomicU32::new(0)));
    let held = Arc::clone(&alive);
    let service = Balance::new(pool.clone(), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let calls = Arc::clone(&held);
        let open = Arc::new(AtomicBool::new(true));
        Gated {
            name: "x",
            open,
            calls,
        }
    });
    for life in 0..2 {
        pool.set_endpoints(specs(life)).unwrap();
        for _ in 0..3 * N {
            let response = service.clone().oneshot(request()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!(made.load(Ordering::SeqCst), N * (life as u32 + 1));
    }
    let services = Arc::strong_count(&alive) as u32 - 2;
    assert_eq!(services, N, "those of the first life are gone");
}

#[tokio::test]
async fn whoever_observes_is_told_of_every_request() {
    struct Count(Arc<AtomicU32>);
    impl Observer for Count {
        fn observed(&self, _: &Endpoint, _: &Observation) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let service = Balance::over("app", [("a", router("a"))]).unwrap();
    let seen = Arc::new(AtomicU32::new(0));
    service.pool().observe(Count(Arc::clone(&seen)));
    for _ in 0..40 {
        drop(service.clone().oneshot(request()).await.unwrap());
    }
    assert_eq!(seen.load(Ordering::SeqCst), 40);
}

#[tokio::test]
async fn a_client_stays_on_its_router() {
    let pool = Pool::builder("app")
        .endpoints(["a", "b", "c"].map(|name| EndpointSpec::new(name, "local://x")))
        .policy(RoundRobin::default())
        .affinity(Affinity::cookie("lb", "a secret of sixteen bytes"))
        .build()
        .unwrap();
    let service = Balance::new(pool, |endpoint| match endpoint.id().as_str() {
        "a" => router("a"),
        "b" => router("b"),
        _ => router("c"),
    });
    let first = service.clone().oneshot(request()).await.unwrap();
    let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let home = text(first).await;
    for _ in 0..6 {
        let mut again = request();
        again
            .headers_mut()
            .insert(header::COOKIE, cookie.parse().unwrap());
        let response = service.clone().oneshot(again).await.unwrap();
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        assert_eq!(text(response).await, home);
    }
}

#[tokio::test]
async fn a_report_reaches_the_statistics_and_not_the_client() {
    let report = ReportLayer::new().utilization("gpu", || Some(0.75));
    let service = Balance::over("app", [("a", router("a").layer(report))]).unwrap();
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.headers().get(crate::report::HEADER), None);
    let status = service.pool().status();
    let report = status.endpoints[0].report.as_ref().expect("a report came");
    assert_eq!(report.gpu_utilization(), Some(0.75));
    assert_eq!(report.active_work(), Some(1.0), "the request itself");
}

/// What is told about a request with this key.
async fn told<S, B>(service: S, key: &str) -> Option<String>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let mut request = request();
    let key = key.parse().unwrap();
    request.headers_mut().insert("x-lb-explain", key);
    let response = service.oneshot(request).await.unwrap();
    let told = response.headers().get("x-lb-explain")?;
    Some(told.to_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn who_knows_the_key_is_told_who_answered_and_who_was_left() {
    let services = [
        ("busy", Gated::new("busy", false)),
        ("free", Gated::new("free", true)),
    ];
    let service = Balance::over("app", services).unwrap().explain("sesame");
    service.pool().set_policy(RoundRobin::default()).unwrap();
    let both = [
        told(service.clone(), "sesame").await,
        told(service.clone(), "sesame").await,
    ];
    let left = "endpoint=free; by=round_robin; attempts=2; failed: busy=not_ready";
    assert!(both.iter().flatten().any(|told| told == left), "{both:?}");
    assert_eq!(told(service.clone(), "open").await, None);
    let silent = Balance::over("app", [("a", router("a"))]).unwrap();
    assert_eq!(told(silent, "").await, None);
}

#[tokio::test]
async fn an_instance_tells_of_the_requests_that_it_answers_itself() {
    let spec = EndpointSpec::new("here", "http://127.0.0.1:1");
    let pool = Pool::builder("app").endpoints([spec]).build().unwrap();
    let layer = |proxy| BalanceLayer::with_proxy(proxy).local("here");
    let app = router("here").layer(layer(pool.reverse_proxy().explain("sesame")));
    let by = "endpoint=here; by=least_request; attempts=1";
    assert_eq!(told(app.clone(), "sesame").await.as_deref(), Some(by));
    assert_eq!(told(app, "open").await, None);
}

#[tokio::test]
async fn a_thousand_connections_share_one_balance() {
    let service = Balance::over("app", ["a", "b", "c"].map(|name| (name, router(name)))).unwrap();
    let app = Router::new().fallback_service(service.clone());
    let answers = storm(app).await;
    assert_eq!(answers.len(), 1_000);
    for name in ["a", "b", "c"] {
        let share = answers.iter().filter(|answer| *answer == name).count();
        assert!(
            (250..420).contains(&share),
            "{name} answered {share} of 1000"
        );
    }
    assert_eq!(in_flight(service.pool()), 0);
}

#[tokio::test]
async fn the_layer_answers_its_share_and_sends_the_rest_to_its_peer() {
    let listeners = [bind().await, bind().await];
    let specs = || {
        let spec = |(at, listener): (usize, &tokio::net::TcpListener)| {
            let address = listener.local_addr().unwrap();
            EndpointSpec::new(format!("sim-{at}"), format!("http://{address}"))
        };
        listeners.iter().enumerate().map(spec).collect::<Vec<_>>()
    };
    let pools = [(); 2].map(|()| {
        let pool = Pool::builder("app").endpoints(specs());
        pool.policy(RoundRobin::default()).build().unwrap()
    });
    let app = |at: usize, name| {
        let layer = BalanceLayer::new(pools[at].clone()).local(format!("sim-{at}"));
        router(name).layer(layer)
    };
    let apps = [app(0, "first"), app(1, "second")];
    let front = apps[0].clone();
    for (listener, app) in listeners.into_iter().zip(apps) {
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    let answers = storm(front).await;
    let here = answers.iter().filter(|answer| *answer == "first").count();
    let there = answers.iter().filter(|answer| *answer == "second").count();
    assert_eq!(here + there, 1_000, "{answers:?}");
    assert!(
        (300..=700).contains(&here),
        "{here} of 1000 were answered here"
    );
    until(|| in_flight(&pools[0]) + in_flight(&pools[1]) == 0).await;
}

#[tokio::test]
async fn a_request_that_was_balanced_is_answered_where_it_arrives() {
    let specs = [
        EndpointSpec::new("here", "http://127.0.0.1:1"),
        EndpointSpec::new("there", "http://127.0.0.1:1"),
    ];
    let pool = Pool::builder("app").endpoints(specs).build().unwrap();
    let report = ReportLayer::new();
    let app = router("here")
        .layer(report)
        .layer(BalanceLayer::new(pool).local("here"));
    for _ in 0..20 {
        let mut marked = request();
        marked
            .headers_mut()
            .insert("x-lb-balanced", "1".parse().unwrap());
        let response = app.clone().oneshot(marked).await.unwrap();
        let headers: &HeaderMap = response.headers();
        assert!(
            headers.contains_key(crate::report::HEADER),
            "for the instance that asks"
        );
        assert_eq!(text(response).await, "here");
    }
}

/// Answers of 1,000 connections at once.
async fn storm(app: Router) -> Vec<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = bind().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        clients.spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let head = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer.rsplit("\r\n").next().unwrap().to_owned()
        });
    }
    clients.join_all().await
}

async fn bind() -> tokio::net::TcpListener {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Waits for a condition, 10 s at most.
async fn until(holds: impl Fn() -> bool) {
    let all = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all)
        .await
        .expect("the condition never held");
}
