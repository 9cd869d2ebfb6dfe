//! Are the targets of a pick met? Ours, a sketch and the peers in turns, over three endpoints.
//!
//! What the rows are is said in `core_pick_cost`, which has them for other sizes and more
//! policies, but seconds apart. Here every ratio is taken within one turn, of some ten
//! milliseconds a row, so that a machine which changes its speed changes it for both sides.

use std::{fmt, hint::black_box};

use benches::{
    echo::{Echo, call},
    peers,
    pools::{balanced, now, pool},
    sketch::{Sketch, SketchService},
    turns::{Row, Turn, Turns},
};
use lb_core::{
    PickCx,
    policy::{LeastRequest, LeastResponseTime, PolicyConfig, RoundRobin},
};
use pingora_load_balancing::selection;

const TURNS: usize = 61;
const ENDPOINTS: usize = 3;

/// What must be, and the figure of a turn that says so.
struct Target {
    what: &'static str,
    must: Must,
    figure: fn(Turn<'_>) -> f64,
}

#[derive(Clone, Copy)]
enum Must {
    /// ns.
    AtMost(f64),
    /// Times as much.
    AtLeast(f64),
    /// A yardstick.
    Nothing,
}

const TARGETS: [Target; 14] = [
    at_most(25.0, "pick, round robin", |turn| {
        turn.of("pick, round robin")
    }),
    at_most(25.0, "pick, two drawn", |turn| turn.of("pick, two drawn")),
    at_most(80.0, "layer, round robin", |turn| {
        turn.of("layer, round robin")
    }),
    at_most(80.0, "layer, two drawn", |turn| turn.of("layer, two drawn")),
    at_most(80.0, "layer, least request", |turn| {
        turn.of("layer, least request")
    }),
    at_least(4.0, "pingora's select / pick, round robin", |turn| {
        turn.of("pingora, round robin") / turn.of("pick, round robin")
    }),
    at_least(8.0, "tower behind a buffer / layer, round robin", |turn| {
        turn.of("tower, behind a buffer") / turn.of("layer, round robin")
    }),
    at_least(8.0, "tower behind a buffer / layer, two drawn", |turn| {
        turn.of("tower, behind a buffer") / turn.of("layer, two drawn")
    }),
    at_least(
        3.0,
        "tower's peak EWMA / layer, least response time",
        |turn| turn.of("tower, peak EWMA") / turn.of("layer, least response time"),
    ),
    yardstick("tower, owned / layer, two drawn", |turn| {
        turn.of("tower, two drawn") / turn.of("layer, two drawn")
    }),
    yardstick("pick / sketch, round robin", |turn| {
        turn.of("pick, round robin") / turn.of("sketch, round robin")
    }),
    yardstick("pick / sketch, two drawn", |turn| {
        turn.of("pick, two drawn") / turn.of("sketch, two drawn")
    }),
    yardstick("layer / sketch's, round robin", |turn| {
        turn.of("layer, round robin") / turn.of("sketch's layer, round robin")
    }),
    yardstick("layer / sketch's, two drawn", |turn| {
        turn.of("layer, two drawn") / turn.of("sketch's layer, two drawn")
    }),
];

const fn at_most(ns: f64, what: &'static str, figure: fn(Turn<'_>) -> f64) -> Target {
    let must = Must::AtMost(ns);
    Target { what, must, figure }
}

const fn at_least(times: f64, what: &'static str, figure: fn(Turn<'_>) -> f64) -> Target {
    let must = Must::AtLeast(times);
    Target { what, must, figure }
}

const fn yardstick(what: &'static str, figure: fn(Turn<'_>) -> f64) -> Target {
    let must = Must::Nothing;
    Target { what, must, figure }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(ns) => write!(f, "at most {ns} ns"),
            Self::AtLeast(times) => write!(f, "at least {times} x"),
            Self::Nothing => f.write_str("-"),
        }
    }
}

impl Must {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
            Self::Nothing => true,
        }
    }
}

fn two_drawn() -> LeastRequest {
    LeastRequest::default().scan_up_to(0)
}

/// Pick and release.
fn pick(name: &'static str, policy: impl Into<PolicyConfig>) -> Row {
    let (pool, now) = (pool(ENDPOINTS, policy), now());
    Row::new(name, move || {
        drop(black_box(pool.pick(&PickCx::new(now, fastrand::u64(..)))));
    })
}

/// A whole call of a balanced service.
fn layer(name: &'static str, policy: impl Into<PolicyConfig>) -> Row {
    let mut balance = balanced(ENDPOINTS, policy);
    Row::new(name, move || call(&mut balance))
}

fn ours() -> Vec<Row> {
    let sketch = Sketch::new(ENDPOINTS);
    let other = Sketch::new(ENDPOINTS);
    let drawn = |sketch: &Sketch| sketch.two_drawn(fastrand::u64(..));
    let mut turns = SketchService::new(ENDPOINTS, Sketch::round_robin);
    let mut draws = SketchService::new(ENDPOINTS, drawn);
    vec![
        pick("pick, round robin", RoundRobin::default()),
        pick("pick, two drawn", two_drawn()),
        pick("pick, least request", LeastRequest::default()),
        pick("pick, least response time", LeastResponseTime::default()),
        Row::new("sketch, round robin", move || {
            black_box(fastrand::u64(..));
            drop(black_box(sketch.round_robin()));
        }),
        Row::new("sketch, two drawn", move || drop(black_box(drawn(&other)))),
        Row::new("echo", || call(&mut Echo)),
        layer("layer, round robin", RoundRobin::default()),
        layer("layer, two drawn", two_drawn()),
        layer("layer, least request", LeastRequest::default()),
        layer("layer, least response time", LeastResponseTime::default()),
        Row::new("sketch's layer, round robin", move || call(&mut turns)),
        Row::new("sketch's layer, two drawn", move || call(&mut draws)),
    ]
}

fn theirs() -> Vec<Row> {
    let even = peers::pingora::<selection::RoundRobin>(ENDPOINTS);
    let mut counting = peers::in_flight(ENDPOINTS);
    let mut timed = peers::peak_ewma(ENDPOINTS);
    vec![
        Row::new("pingora, round robin", move || {
            black_box(even.select(b"", 16));
        }),
        Row::new("tower, two drawn", move || call(&mut counting)),
        Row::new("tower, peak EWMA", move || call(&mut timed)),
        Row::of("tower, behind a buffer", |calls| {
            peers::behind_buffer(ENDPOINTS, calls)
        }),
    ]
}

fn main() {
    let mut rows = ours();
    rows.extend(theirs());
    let turns = Turns::take(rows, TURNS);
    println!("| ns per call, {TURNS} turns | least | first quartile | middle | third | most |");
    println!("|---|---|---|---|---|---|");
    for name in turns.names() {
        let is = turns.spread(|turn| turn.of(name));
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            is.least, is.first, is.middle, is.third, is.most
        );
    }
    println!(
        "\n| target | must | least | first quartile | middle | third | most | turns that meet it |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for Target { what, must, figure } in TARGETS {
        let is = turns.spread(figure);
        let met = 100.0 * turns.share(|turn| must.is_met_by(figure(turn)));
        println!(
            "| {what} | {must} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {met:.0} % |",
            is.least, is.first, is.middle, is.third, is.most
        );
    }
}
