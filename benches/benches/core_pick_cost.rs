//! What does one pick cost as the fleet grows, and with a second thread?
//!
//! * `pick + release`: the pool alone.
//! * `record`: the same with an outcome recorded at a given time, for policies that learn.
//! * `layer`: a whole call of [`Balance`](lb_core::balance::Balance) over an echo, with the clock reads it needs at this
//!   rate, where one thread sends millions a second: one for policies that time, two for the
//!   few requests that teach them, or that are drawn for status. The row `echo` is the same
//!   request without a balancer.
//! * `sketch`: the least that balances over a shared snapshot, see [`benches::sketch`], alone and
//!   around the same echo: what the machine at hand makes of the shape our targets were set by.
//! * `peers` (with `--features peers`): tower's p2c over the same echo (owned, in a mutex,
//!   behind a buffer) and pingora's selections, which do neither count nor call.
//!
//! Whether the targets are met is a question for `core_pick_turns`: here rows run seconds apart.
//!
//! CPU time of the thread, and of every sample the quickest of many batches: what
//! the code costs when nothing else on the machine disturbs it.

use std::{hint::black_box, time::Duration};

use benches::{
    cpu::{ThreadCpu, quickest},
    echo::{Echo, call},
    pools::{balanced, now, pool},
    sketch::{Sketch, SketchService},
};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use lb_core::{
    Outcome, PickCx,
    policy::{
        ConsistentHash, LeastRequest, LeastResponseTime, PolicyConfig, Prequal, Random,
        ResourceBased, RoundRobin, WeightedRoundRobin,
    },
};

const SIZES: [usize; 5] = [3, 10, 100, 1_000, 10_000];

fn policies() -> Vec<(&'static str, PolicyConfig)> {
    vec![
        ("round_robin", RoundRobin::default().into()),
        ("weighted_round_robin", WeightedRoundRobin::default().into()),
        ("random", Random::default().into()),
        (
            "p2c_in_flight",
            LeastRequest::default().scan_up_to(0).into(),
        ),
        ("least_request", LeastRequest::default().into()),
        ("least_response_time", LeastResponseTime::default().into()),
        ("prequal", Prequal::default().into()),
        ("resource_based", ResourceBased::default().into()),
        ("maglev", ConsistentHash::maglev().into()),
        ("ring_160", ConsistentHash::ring(160).into()),
    ]
}

/// Work on each of several threads; the mean of all.
fn on_threads(threads: usize, iterations: u64, work: impl Fn() + Sync) -> Duration {
    let spent: Duration = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| quickest(iterations, &work)))
            .collect();
        all.into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    spent / threads as u32
}

/// Work of one owner.
fn owned(group: &mut BenchmarkGroup<'_, ThreadCpu>, name: &str, n: usize, mut work: impl FnMut()) {
    group.bench_function(BenchmarkId::new(name, n), |bencher| {
        bencher.iter_custom(|iterations| quickest(iterations, &mut work));
    });
}

/// Work that threads share: on one of them, and for two sizes on two.
fn case(group: &mut BenchmarkGroup<'_, ThreadCpu>, name: &str, n: usize, work: impl Fn() + Sync) {
    owned(group, name, n, &work);
    if n == 3 || n == 1_000 {
        group.bench_function(
            BenchmarkId::new(format!("{name} x2 threads"), n),
            |bencher| {
                bencher.iter_custom(|iterations| on_threads(2, iterations, &work));
            },
        );
    }
}

fn picks(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("pick + release");
    for n in SIZES {
        for (name, policy) in policies() {
            let pool = pool(n, policy);
            let now = now();
            case(&mut group, name, n, || {
                drop(black_box(pool.pick(&PickCx::new(now, fastrand::u64(..)))));
            });
        }
    }
    group.finish();
}

fn records(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("record");
    for n in SIZES {
        for (name, policy) in policies() {
            let pool = pool(n, policy);
            let (now, later) = (now(), now() + Duration::from_millis(3));
            case(&mut group, name, n, || {
                let mut lease = pool
                    .pick(&PickCx::new(now, fastrand::u64(..)))
                    .expect("available");
                lease.record(Outcome::Success, later);
                drop(black_box(lease));
            });
        }
    }
    group.finish();
}

fn layers(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("layer");
    owned(&mut group, "echo", 1, || call(&mut Echo));
    for n in [3, 10, 100, 1_000] {
        for (name, policy) in policies() {
            let balance = balanced(n, policy);
            owned(&mut group, name, n, {
                let mut balance = balance.clone();
                move || call(&mut balance)
            });
            if n == 3 {
                group.bench_function(BenchmarkId::new(format!("{name} x2 threads"), n), |b| {
                    // A clone per request, as axum does.
                    b.iter_custom(|all| on_threads(2, all, || call(&mut balance.clone())));
                });
            }
        }
    }
    group.finish();
}

/// The yardstick, chosen from as the pool is.
fn sketches(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("sketch");
    let two_drawn = |sketch: &Sketch| sketch.two_drawn(fastrand::u64(..));
    for n in SIZES {
        let sketch = Sketch::new(n);
        case(&mut group, "round_robin", n, || {
            black_box(fastrand::u64(..));
            drop(black_box(sketch.round_robin()));
        });
        case(&mut group, "p2c_in_flight", n, || {
            drop(black_box(two_drawn(&sketch)));
        });
        let mut turns = SketchService::new(n, Sketch::round_robin);
        owned(&mut group, "layer round_robin", n, || call(&mut turns));
        let mut drawn = SketchService::new(n, two_drawn);
        owned(&mut group, "layer p2c_in_flight", n, || call(&mut drawn));
    }
    group.finish();
}

#[cfg(feature = "peers")]
mod peers {
    use super::{BenchmarkId, Criterion, SIZES, ThreadCpu, black_box, call, case, owned};
    use benches::peers::{behind_buffer, in_flight, peak_ewma, pingora};
    use pingora_load_balancing::selection::{Consistent, RoundRobin};
    use std::sync::Mutex;

    pub(super) fn tower_and_pingora(criterion: &mut Criterion<ThreadCpu>) {
        let mut group = criterion.benchmark_group("peers");
        for n in SIZES {
            let mut counting = in_flight(n);
            owned(&mut group, "tower p2c in flight", n, || call(&mut counting));
            let mut timed = peak_ewma(n);
            owned(&mut group, "tower p2c peak ewma", n, || call(&mut timed));
            let shared = Mutex::new(in_flight(n));
            case(&mut group, "tower p2c in a mutex", n, || {
                call(&mut *shared.lock().expect("no panic"));
            });
            group.bench_function(BenchmarkId::new("tower p2c behind buffer", n), |b| {
                b.iter_custom(|iterations| behind_buffer(n, iterations));
            });
            let even = pingora::<RoundRobin>(n);
            case(&mut group, "pingora round robin", n, || {
                black_box(even.select(b"", 16));
            });
            let ketama = pingora::<Consistent>(n);
            case(&mut group, "pingora ketama", n, || {
                black_box(ketama.select(&fastrand::u64(..).to_le_bytes(), 16));
            });
        }
        group.finish();
    }
}

#[cfg(not(feature = "peers"))]
mod peers {
    pub(super) fn tower_and_pingora(_: &mut super::Criterion<super::ThreadCpu>) {}
}

fn quick() -> Criterion<ThreadCpu> {
    Criterion::default()
        .with_measurement(ThreadCpu)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
}

criterion_group! { name = benches; config = quick(); targets = picks, records, layers, sketches, peers::tower_and_pingora }
criterion_main!(benches);
