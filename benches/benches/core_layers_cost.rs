//! What do affinity and load reports add to a balanced request?
//!
//! * `bare`: a whole call of [`Balance`] over three echoes.
//! * `affinity`: the same with a signed session cookie that is honoured.
//! * `reports`: the same with a report layer in each echo whose header the balancer takes in
//!   and strips.
//! * `affinity and reports`: both.
//!
//! All send the same request, cookie included, and get the same answer with one field of its
//! own (into an answer without any, the report's field would bring the table of fields with
//! it: two allocations); explanations are off. CPU time of the thread, and of every sample the
//! quickest of many batches.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Duration;

use benches::cpu::{ThreadCpu, quickest};
use benches::echo::{Asked, ask};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request, Response, header};
use http_body_util::Empty;
use lb_core::balance::Balance;
use lb_core::report::ReportLayer;
use lb_core::{Affinity, Endpoint, Pool};
use tower_layer::Layer;
use tower_service::Service;

const ENDPOINTS: [&str; 3] = ["http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"];

/// Answers at once, with one field.
#[derive(Clone, Debug)]
struct Echo;

impl Service<Asked> for Echo {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Asked) -> Self::Future {
        let mut response = Response::new(Empty::new());
        let kind = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        ready(Ok(response))
    }
}

/// One request with this cookie.
fn call<S, B>(service: &mut S, cookie: &HeaderValue) -> Response<B>
where
    S: Service<Asked, Response = Response<B>, Error = Infallible>,
{
    let mut request = Request::new(Empty::new());
    request.headers_mut().insert(header::COOKIE, cookie.clone());
    match ask(service, request) {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A cookie that `service` honours, and another one.
fn bound<S, B>(service: &mut S) -> HeaderValue
where
    S: Service<Asked, Response = Response<B>, Error = Infallible>,
{
    let first = call(service, &HeaderValue::from_static("theme=dark"));
    let token = first.headers()[header::SET_COOKIE].to_str().expect("text");
    let pair = token.split(';').next().expect("a pair");
    let cookie = HeaderValue::try_from(format!("theme=dark; {pair}")).expect("a value");
    let again = call(service, &cookie);
    let renewed = again.headers().contains_key(header::SET_COOKIE);
    assert!(!renewed, "the session is honoured");
    cookie
}

fn cost(criterion: &mut Criterion<ThreadCpu>) {
    let pool = || Pool::builder("bench").endpoints(ENDPOINTS);
    let free = || pool().build().expect("a pool");
    let affinity = Affinity::cookie("lb_session", "a secret of the bench");
    let sticky = || pool().affinity(affinity.clone()).build().expect("a pool");
    let reporting = |_: &Endpoint| ReportLayer::new().layer(Echo);
    let mut bare = Balance::new(free(), |_| Echo);
    let mut session = Balance::new(sticky(), |_| Echo);
    let mut reports = Balance::new(free(), reporting);
    let mut full = Balance::new(sticky(), reporting);
    // One secret: both honour it.
    let cookie = bound(&mut full);

    let mut group = criterion.benchmark_group("layers");
    group.bench_function("bare", |b| {
        b.iter_custom(|all| quickest(all, || drop(black_box(call(&mut bare, &cookie)))));
    });
    group.bench_function("affinity", |b| {
        b.iter_custom(|all| quickest(all, || drop(black_box(call(&mut session, &cookie)))));
    });
    group.bench_function("reports", |b| {
        b.iter_custom(|all| quickest(all, || drop(black_box(call(&mut reports, &cookie)))));
    });
    group.bench_function("affinity and reports", |b| {
        b.iter_custom(|all| quickest(all, || drop(black_box(call(&mut full, &cookie)))));
    });
    group.finish();
}

fn quick() -> Criterion<ThreadCpu> {
    Criterion::default()
        .with_measurement(ThreadCpu)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = cost }
criterion_main!(benches);
