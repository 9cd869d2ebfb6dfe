//! What do affinity and load reports add to a balanced request?
//!
//! * `bare`: a whole call of [`Balance`] over three echoes.
//! * `affinity and reports`: the same with a signed session cookie that is honoured, and a
//!   report layer in each echo whose header the balancer takes in and strips.
//!
//! Both send the same request, cookie included; explanations are off. CPU time of the thread,
//! and of every sample the quickest of many batches.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use benches::cpu::{ThreadCpu, quickest};
use benches::echo::{Asked, Echo, ask};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request, Response, header};
use http_body_util::Empty;
use lb_core::balance::Balance;
use lb_core::report::ReportLayer;
use lb_core::{Affinity, Pool};
use tower_layer::Layer;
use tower_service::Service;

const ENDPOINTS: [&str; 3] = ["http://10.0.0.1", "http://10.0.0.2", "http://10.0.0.3"];

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

fn cost(criterion: &mut Criterion<ThreadCpu>) {
    let pool = || Pool::builder("bench").endpoints(ENDPOINTS);
    let mut bare = Balance::new(pool().build().expect("a pool"), |_| Echo);
    let affinity = Affinity::cookie("lb_session", "a secret of the bench");
    let bound = pool().affinity(affinity).build().expect("a pool");
    let mut full = Balance::new(bound, |_| ReportLayer::new().layer(Echo));
    let first = call(&mut full, &HeaderValue::from_static("theme=dark"));
    let bound = first.headers()[header::SET_COOKIE].to_str().expect("text");
    let pair = bound.split(';').next().expect("a pair").to_owned();
    let cookie = HeaderValue::try_from(format!("theme=dark; {pair}")).expect("a value");
    let again = call(&mut full, &cookie);
    assert!(
        !again.headers().contains_key(header::SET_COOKIE),
        "the session is honoured"
    );

    let mut group = criterion.benchmark_group("layers");
    group.bench_function("bare", |b| {
        b.iter_custom(|all| quickest(all, || drop(black_box(call(&mut bare, &cookie)))));
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
