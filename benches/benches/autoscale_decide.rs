//! What does one decision cost as the fleet grows, and what does a simulated day cost?
//!
//! A decision is made of CPU samples of every pod (utilization, readiness and
//! requests of each are looked at) plus one external metric. Required: under
//! 10 µs at 1,000 pods, and linear. Pods and samples share names and come in one
//! order, as a source that starts from the fleet makes them; `1,000 pods` asks
//! what it costs when they do not, or when the count changes: names that must be compared and containers
//! that must be added up one by one, every tenth pod missing, samples in
//! another order, and a shrink that names half of the pods as victims. A day of
//! 86,400 seconds through the demand preset: under 1 s.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lb_autoscale::hpa::History;
use lb_autoscale::inputs::{Container, Observation, Pod, PodSample};
use lb_autoscale::sim::contestants::Demand;
use lb_autoscale::sim::{Trace, World, simulate};
use lb_autoscale::spec::{Metric, ScalingRules};
use lb_autoscale::{Inputs, Quantity, Spec, State, UnixMillis, decide, presets};

/// As Kubernetes names them: a ReplicaSet, and five letters or digits.
fn name(n: u32) -> Arc<str> {
    Arc::from(format!("simulation-6d4cf56db6-{n:05}"))
}

fn container() -> Container {
    Container::cpu("main", Quantity::from_milli(500))
}

fn sample(name: &Arc<str>, n: u32) -> PodSample {
    PodSample::new(
        Arc::clone(name),
        Quantity::from_milli(i64::from(340 + n % 20)),
    )
}

fn inputs(pods: Vec<Pod>, samples: Vec<PodSample>) -> Inputs {
    let current = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    Inputs::new(current)
        .pods(pods)
        .observe("cpu", Observation::pods(samples))
        .observe("queue", Observation::value(f64::from(current) * 7.0))
}

/// Names shared, one list of containers, one order.
fn shared(pods: u32) -> Inputs {
    let template: Arc<[Container]> = Arc::new([container()]);
    let names: Vec<Arc<str>> = (0..pods).map(name).collect();
    let pod = |name: &Arc<str>| Pod::ready(Arc::clone(name)).containers(Arc::clone(&template));
    let samples = names.iter().zip(0..).map(|(name, n)| sample(name, n));
    inputs(names.iter().map(pod).collect(), samples.collect())
}

/// Every pod and every sample has its own name and containers.
fn unshared(pods: u32) -> Inputs {
    let pod = |n| Pod::ready(name(n)).containers([container()]);
    let samples = (0..pods).map(|n| sample(&name(n), n));
    inputs((0..pods).map(pod).collect(), samples.collect())
}

fn with_samples(mut inputs: Inputs, change: impl FnOnce(&mut Vec<PodSample>)) -> Inputs {
    let names: Vec<Arc<str>> = inputs
        .pods
        .iter()
        .map(|pod| Arc::clone(&pod.name))
        .collect();
    let mut samples: Vec<PodSample> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| sample(name, n))
        .collect();
    change(&mut samples);
    inputs
        .metrics
        .insert("cpu".into(), Observation::pods(samples));
    inputs
}

fn spec() -> Spec {
    Spec::builder("bench")
        .replicas(1..=1_000_000)
        .metric(Metric::resource("cpu").utilization(70))
        .metric(Metric::external("queue").average_value(8.0))
        .scale_up(ScalingRules::default())
        .build()
        .expect("a valid specification")
}

fn decisions(criterion: &mut Criterion) {
    let spec = spec();
    let mut group = criterion.benchmark_group("decide");
    for pods in [10, 1_000, 100_000] {
        let inputs = shared(pods);
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

fn thousand(criterion: &mut Criterion) {
    let spec = spec();
    let mut half = shared(1_000);
    half.metrics
        .insert("queue".into(), Observation::value(500.0 * 8.0));
    let cases = [
        ("names and containers of their own", unshared(1_000)),
        (
            "every tenth missing",
            with_samples(shared(1_000), |samples| {
                let mut n = 0;
                samples.retain(|_| {
                    n += 1;
                    n % 10 != 0
                });
            }),
        ),
        (
            "samples in another order",
            with_samples(shared(1_000), |samples| samples.reverse()),
        ),
        (
            "half of them victims",
            with_samples(half, |samples| {
                samples.iter_mut().for_each(|sample| {
                    *sample = PodSample::new(Arc::clone(&sample.pod), Quantity::from_milli(100));
                });
            }),
        ),
    ];
    let mut group = criterion.benchmark_group("1,000 pods");
    group.throughput(Throughput::Elements(1_000));
    for (case, inputs) in cases {
        group.bench_function(case, |bencher| {
            // A known history, so that shrinking need not wait for a window.
            let fresh = State::with_history(History {
                recommendations: Some(Default::default()),
                ..Default::default()
            });
            let now = UnixMillis::from_secs(1_000_000);
            bencher.iter(|| decide(&spec, &mut fresh.clone(), black_box(&inputs), now));
        });
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

criterion_group!(benches, decisions, thousand, day);
criterion_main!(benches);
