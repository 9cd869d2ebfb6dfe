//! What do affinity and load reports add to a balanced request?
//!
//! * `bare`: a whole call of [`Balance`] over three echoes.
//! * `affinity`: the same with a signed session cookie that is honoured.
//! * `reports`: the same with a report layer in each echo whose header the balancer takes in
//!   and strips. At this rate one answer in four brings one.
//! * `affinity and reports`: both.
//!
//! All send the same request, cookie included, and get the same answer with one field of its
//! own (into an answer without any, the report's field would bring the table of fields with
//! it: two allocations); explanations are off.
//!
//! CPU time of the thread, and of every sample the quickest of many batches. The rows take
//! turns, so that a machine which changes its speed changes it for all of them: what a row
//! costs more than `bare` is the difference within one turn.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use benches::echo::{Asked, ask};
use benches::turns::{Row, Turns};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Empty;
use lb_core::balance::Balance;
use lb_core::report::ReportLayer;
use lb_core::{Affinity, Endpoint, Pool};
use tower_layer::Layer;
use tower_service::Service;

const TURNS: usize = 61;
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

fn row<S, B>(name: &'static str, mut service: S, cookie: &HeaderValue) -> Row
where
    S: Service<Asked, Response = Response<B>, Error = Infallible> + 'static,
{
    let cookie = cookie.clone();
    Row::new(name, move || drop(black_box(call(&mut service, &cookie))))
}

fn rows() -> Vec<Row> {
    let pool = || Pool::builder("bench").endpoints(ENDPOINTS);
    let free = || pool().build().expect("a pool");
    let affinity = Affinity::cookie("lb_session", "a secret of the bench");
    let sticky = || pool().affinity(affinity.clone()).build().expect("a pool");
    let reporting = |_: &Endpoint| ReportLayer::new().layer(Echo);
    let mut full = Balance::new(sticky(), reporting);
    // One secret: both honour it.
    let cookie = bound(&mut full);
    vec![
        row("bare", Balance::new(free(), |_| Echo), &cookie),
        row("affinity", Balance::new(sticky(), |_| Echo), &cookie),
        row("reports", Balance::new(free(), reporting), &cookie),
        row("affinity and reports", full, &cookie),
    ]
}

fn main() {
    let turns = Turns::take(rows(), TURNS);
    println!("| ns per call | least | middle | most | more than bare: middle (quartiles) |");
    println!("|---|---|---|---|---|");
    for name in turns.names() {
        let is = turns.spread(|turn| turn.of(name));
        let more = turns.spread(|turn| turn.of(name) - turn.of("bare"));
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} ({:.0} to {:.0}) |",
            is.least, is.middle, is.most, more.middle, more.first, more.third
        );
    }
}
