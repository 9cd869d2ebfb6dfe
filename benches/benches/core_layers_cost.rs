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

use benches::cpu::quickest;
use benches::echo::{Asked, ask};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Empty;
use lb_core::balance::Balance;
use lb_core::report::ReportLayer;
use lb_core::{Affinity, Endpoint, Pool};
use tower_layer::Layer;
use tower_service::Service;

/// Calls of each row in one turn.
const CALLS: u32 = 40_000;
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

/// One more request, whatever service that is.
type Row = (&'static str, Box<dyn FnMut()>);

fn row<S, B>(name: &'static str, mut service: S, cookie: &HeaderValue) -> Row
where
    S: Service<Asked, Response = Response<B>, Error = Infallible> + 'static,
{
    let cookie = cookie.clone();
    let work = move || drop(black_box(call(&mut service, &cookie)));
    (name, Box::new(work))
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

/// One turn: what a call of each row took, in ns.
fn turn(rows: &mut [Row]) -> Vec<f64> {
    let time = |(_, work): &mut Row| {
        let spent = quickest(u64::from(CALLS), work);
        spent.as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    rows.iter_mut().map(time).collect()
}

/// Least, first quartile, middle, third quartile and most.
fn spread(turns: &[Vec<f64>], figure: impl Fn(&[f64]) -> f64) -> [f64; 5] {
    let mut all: Vec<f64> = turns.iter().map(|turn| figure(turn)).collect();
    all.sort_unstable_by(f64::total_cmp);
    [0, 1, 2, 3, 4].map(|quarter| all[quarter * (all.len() - 1) / 4])
}

fn main() {
    let mut rows = rows();
    // The first is thrown away: every thread-local table is filled by it.
    turn(&mut rows);
    let turns: Vec<_> = (0..TURNS).map(|_| turn(&mut rows)).collect();
    println!("| ns per call | least | middle | most | more than bare: middle (quartiles) |");
    println!("|---|---|---|---|---|");
    for (at, (name, _)) in rows.iter().enumerate() {
        let [least, _, middle, _, most] = spread(&turns, |turn| turn[at]);
        let [_, first, more, third, _] = spread(&turns, |turn| turn[at] - turn[0]);
        println!(
            "| {name} | {least:.0} | {middle:.0} | {most:.0} | {more:.0} ({first:.0} to {third:.0}) |"
        );
    }
}
