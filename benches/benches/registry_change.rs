//! What does one change cost: to compare two sets, and to tell everybody who watches?
//!
//! `diff` compares two sets of which one in a hundred instances differs. `fan_out` changes the one instance of a
//! service and waits until every watcher has seen it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lb_registry::{Discovery, InProcess, Instance, Registration, Registry, Snapshot, diff};

fn set(size: usize, heavier: usize) -> Snapshot {
    let instances = (0..size).map(|number| {
        let mut one = Instance::new("web", format!("i{number:05}"), "10.0.0.1", 80);
        one.weight = if number % 100 < heavier { 2 } else { 1 };
        one
    });
    Snapshot::live("web", 1, instances)
}

fn compare(c: &mut Criterion) {
    let mut group = c.benchmark_group("diff");
    for size in [100, 1_000, 10_000] {
        let (old, new) = (set(size, 0), set(size, 1));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| diff::diff(&old.instances, &new.instances).changed.len());
        });
    }
    group.finish();
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan_out");
    group.sample_size(20);
    for watchers in [10, 100, 1_000] {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let registry = InProcess::default();
        let register = |weight: u32| {
            let mut one = Instance::new("web", "i0", "10.0.0.1", 80);
            one.weight = weight;
            let registration = Registration::new(one);
            runtime
                .block_on(registry.register(&registration))
                .expect("there is room");
        };
        let mut watches: Vec<_> = {
            let _inside = runtime.enter();
            (0..watchers).map(|_| registry.watch("web")).collect()
        };
        let mut weight = 0;
        group.throughput(Throughput::Elements(watchers));
        group.bench_function(BenchmarkId::from_parameter(watchers), |b| {
            b.iter(|| {
                // Weights end at a limit; any two in a row differ.
                weight = weight % 100 + 1;
                register(weight);
                for watch in &mut watches {
                    let seen =
                        watch.until(|set| set.get("i0").is_some_and(|one| one.weight == weight));
                    runtime.block_on(seen).expect("the registry is alive");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, compare, fan_out);
criterion_main!(benches);
