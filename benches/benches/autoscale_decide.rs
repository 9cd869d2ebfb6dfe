//! What does one decision cost as the fleet grows, and what does a simulated day cost?
//!
//! A decision is made of CPU samples of every pod (utilization, readiness and
//! requests of each are looked at) plus one external metric. Required: under
//! 10 µs at 1,000 pods, and linear. A day of 86,400 seconds through the demand
//! preset: under 1 s.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lb_autoscale::inputs::{Container, Observation, Pod, PodSample};
use lb_autoscale::sim::contestants::Demand;
use lb_autoscale::sim::{Trace, World, simulate};
use lb_autoscale::spec::{Metric, ScalingRules};
use lb_autoscale::{Inputs, Quantity, Spec, State, UnixMillis, decide, presets};

fn inputs(pods: u32) -> Inputs {
    let names: Vec<Arc<str>> = (0..pods).map(|n| Arc::from(format!("pod-{n}"))).collect();
    let container = || Container::cpu("main", Quantity::from_milli(500));
    let samples = names
        .iter()
        .zip(0..)
        .map(|(name, n)| PodSample::new(Arc::clone(name), Quantity::from_milli(300 + n % 100)))
        .collect();
    Inputs::new(pods)
        .pods(
            names
                .iter()
                .map(|name| Pod::ready(Arc::clone(name)).container(container())),
        )
        .observe("cpu", Observation::pods(samples))
        .observe("queue", Observation::value(f64::from(pods) * 7.0))
}

fn decisions(criterion: &mut Criterion) {
    let spec = Spec::builder("bench")
        .replicas(1..=1_000_000)
        .metric(Metric::resource("cpu").utilization(70))
        .metric(Metric::external("queue").average_value(8.0))
        .scale_up(ScalingRules::default())
        .build()
        .expect("a valid specification");
    let mut group = criterion.benchmark_group("decide");
    for pods in [10, 1_000, 100_000] {
        let inputs = inputs(pods);
        group.throughput(Throughput::Elements(pods.into()));
        group.bench_with_input(
            BenchmarkId::from_parameter(pods),
            &inputs,
            |bencher, inputs| {
                let mut state = State::default();
                let mut now = UnixMillis::from_secs(1_000_000);
                bencher.iter(|| {
                    now = now + Duration::from_secs(15);
                    decide(&spec, &mut state, black_box(inputs), now)
                });
            },
        );
    }
    group.finish();
}

fn day(criterion: &mut Criterion) {
    let trace = Trace::flash_crowds(1);
    let spec = presets::demand("bench", "demand", 70.0)
        .build()
        .expect("a valid specification");
    let mut group = criterion.benchmark_group("simulate");
    group.sample_size(10);
    group.bench_function("a day in steps of a second", |bencher| {
        bencher.iter(|| simulate(&World::default(), &trace, &mut Demand::new(spec.clone())));
    });
    group.finish();
}

criterion_group!(benches, decisions, day);
criterion_main!(benches);
