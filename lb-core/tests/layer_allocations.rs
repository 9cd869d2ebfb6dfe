//! Affinity and load reports allocate at most once per request over the bare balancer.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderValue, Request, Response, header};
use lb_core::balance::Balance;
use lb_core::report::ReportLayer;
use lb_core::{Affinity, Pool};
use tower::{Layer as _, Service, service_fn};

type Asked = Request<String>;

const REQUESTS: u64 = 200;

fn echo(_: Asked) -> Ready<Result<Response<String>, Infallible>> {
    let mut response = Response::new(String::new());
    let kind = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    ready(Ok(response))
}

fn ask<S, B>(service: &mut S, request: Asked) -> Response<B>
where
    S: Service<Asked, Response = Response<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(Ok(response)) => response,
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("an echo answers at once"),
    }
}

fn request(cookie: &HeaderValue) -> Asked {
    let mut request = Request::new(String::new());
    request.headers_mut().insert(header::COOKIE, cookie.clone());
    request
}

/// Allocations of all requests, without those that make them.
fn allocations<S, B>(service: &mut S, cookie: &HeaderValue) -> u64
where
    S: Service<Asked, Response = Response<B>, Error = Infallible>,
{
    let requests = || (0..REQUESTS).map(|_| request(cookie)).collect::<Vec<_>>();
    // Each endpoint's service and every thread's own parts come into being once.
    requests().into_iter().for_each(|it| drop(ask(service, it)));
    let requests = requests();
    let work = || requests.into_iter().for_each(|it| drop(ask(service, it)));
    allocation_counter::measure(work).count_total
}

#[test]
fn affinity_and_reports_allocate_at_most_once_per_request() {
    let pool = || Pool::builder("counted").endpoints(["http://10.0.0.1", "http://10.0.0.2"]);
    let mut bare = Balance::new(pool().build().expect("a pool"), |_| service_fn(echo));
    let affinity = Affinity::cookie("lb_session", "a secret of this test");
    let bound = pool().affinity(affinity).build().expect("a pool");
    let mut full = Balance::new(bound, |_| ReportLayer::new().layer(service_fn(echo)));

    let first = ask(&mut full, request(&HeaderValue::from_static("theme=dark")));
    let cookie = first.headers()[header::SET_COOKIE].clone();
    let again = ask(&mut full, request(&cookie));
    assert!(
        !again.headers().contains_key(header::SET_COOKIE),
        "honoured"
    );

    let (bare, full) = (
        allocations(&mut bare, &cookie),
        allocations(&mut full, &cookie),
    );
    // A report is written anew every 100 ms.
    let rewritten = 10;
    assert!(full <= bare + REQUESTS + rewritten, "{bare} and {full}");
    assert!(full > 0, "the counter counts");
}
