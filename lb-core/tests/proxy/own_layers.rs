//! This crate's own layers around the proxy itself, and all of them around one another.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use lb_core::balance::BalanceLayer;
use lb_core::limit::{ConcurrencyLimitLayer, Fixed, Quota, RateLimitLayer};
use lb_core::report::ReportLayer;
use lb_core::split::{CopiedBody, MirrorLayer, Split};
use lb_core::{Affinity, EndpointSpec, Pool, ReverseProxy};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{Layer as _, Service, service_fn};

use crate::support::*;
use crate::tunnels::{ACCEPTED, HANDSHAKE, echo};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

async fn gateway<S>(service: S) -> SocketAddr
where
    S: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback_service(service);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn proxy(origin: &Origin) -> ReverseProxy {
    pool(&[origin.url()]).reverse_proxy()
}

/// Everybody together may send this many requests per hour.
fn quota(requests: u32) -> RateLimitLayer<u8> {
    let quota = Quota::new(requests, Duration::from_secs(3_600)).unwrap();
    RateLimitLayer::new(quota, |_| Some(1)).unwrap()
}

#[tokio::test]
async fn the_rate_limit_answers_for_the_proxy() {
    let origin = Origin::saying("proxied");
    let gateway = gateway(quota(1).layer(proxy(&origin))).await;
    let mut client = Client::connect(gateway).await;
    let first = client.ask(GET).await;
    assert_eq!((first.status, first.text()), (200, "proxied"));
    let second = client.ask(GET).await;
    assert_eq!(second.status, 429);
    assert!(second.text().contains("too many requests"), "{second:?}");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn the_concurrency_limit_answers_for_the_proxy() {
    let origin = Origin::start(|_| Reply::Silence);
    let layer = ConcurrencyLimitLayer::new(Fixed(1));
    let gateway = gateway(layer.layer(proxy(&origin))).await;
    let mut waits = Client::connect(gateway).await;
    waits.send(GET).await;
    until("in flight", || layer.in_flight() == 1).await;
    let second = Client::connect(gateway).await.ask(GET).await;
    assert_eq!(second.status, 503);
    assert!(second.text().contains("too many requests at once"));
    drop(waits);
    until("released", || layer.in_flight() == 0).await;
}

/// A shadow that tells which paths it was sent.
fn shadow(
    told: mpsc::UnboundedSender<String>,
) -> impl Service<Request<CopiedBody>, Response = (), Error = Infallible, Future: Send> + Clone {
    service_fn(move |copy: Request<CopiedBody>| {
        let path = copy.uri().path().to_owned();
        told.send(path).expect("the test listens");
        std::future::ready(Ok(()))
    })
}

/// All layers of the crate, the innermost around the proxy itself.
async fn layered(url: &str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let origin = || Pool::builder("origin").endpoints([url]).build().unwrap();
    let split = Split::builder("rollout")
        .arm("stable", 1, origin().reverse_proxy())
        .arm("canary", 1, origin().reverse_proxy())
        .sticky(Affinity::cookie("group", "a secret of sixteen bytes"));
    let here = EndpointSpec::new("here", "http://127.0.0.1:1");
    let here = Pool::builder("instances")
        .endpoints([here])
        .build()
        .unwrap();
    let (told, copies) = mpsc::unbounded_channel();
    let service = ReportLayer::new().layer(split.build().unwrap());
    let service = quota(100).layer(service);
    let service = ConcurrencyLimitLayer::new(Fixed(10)).layer(service);
    let service = quota(100).layer(service);
    let service = BalanceLayer::new(here).local("here").layer(service);
    let service = quota(100).layer(service);
    let service = MirrorLayer::new(shadow(told)).layer(service);
    (gateway(service).await, copies)
}

#[tokio::test]
async fn all_layers_together_pass_a_request_and_its_body() {
    let origin = Origin::start(|request| {
        let at = find(request, b"\r\n\r\n").unwrap() + 4;
        Reply::Keep(ok(std::str::from_utf8(&request[at..]).unwrap()))
    });
    let (gateway, mut copies) = layered(&origin.url()).await;
    let post = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    let answer = Client::connect(gateway).await.ask(post).await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert!(answer.field("set-cookie").unwrap().starts_with("group="));
    assert!(answer.field("ratelimit").is_some());
    let taken = answer.field("endpoint-load-metrics");
    assert_eq!(taken, None, "the balancer takes the report in");
    let copy = tokio::time::timeout(PATIENCE, copies.recv()).await;
    assert_eq!(copy.unwrap().unwrap(), "/echo");
}

#[tokio::test]
async fn all_layers_together_pass_a_websocket() {
    let (gateway, _copies) = layered(&echo(ACCEPTED).await).await;
    let mut client = Client::connect(gateway).await;
    assert_eq!(client.ask(HANDSHAKE).await.status, 101);
    client.send(b"\x81\x02hi").await;
    assert_eq!(client.raw(4).await, b"\x81\x02hi");
}

#[tokio::test]
async fn the_report_layer_speaks_for_the_proxy() {
    let origin = Origin::saying("proxied");
    let layer = ReportLayer::new().capacity(4);
    let gateway = gateway(layer.layer(proxy(&origin))).await;
    let answer = Client::connect(gateway).await.ask(GET).await;
    let report = answer.field("endpoint-load-metrics").expect("a report");
    assert!(report.contains("named_metrics.active_work=1"), "{report}");
}
