//! What does one look at the GPUs cost us, as devices are added?
//!
//! Through the real NVML wrapper into the fake library: the dynamic calls, the
//! translation and the folding are ours and are measured; what a driver needs
//! for its answers is not. `one_folding` is the part without any driver call.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fake_nvml::FakeNvml;
use lb_gpu::NvmlProbe;
use lb_gpu::probe::Probe;
use lb_gpu::reading::Reading;
use lb_gpu::tracker::{Tracker, TrackerConfig};

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    Instant::now()
}

fn looks(fake: &FakeNvml, count: u64) -> (Duration, Reading) {
    let mut left = count;
    let mut last = Reading::default();
    let mut started = now();
    let mut first = true;
    NvmlProbe::at(fake.path())
        .watch(&mut |reading| {
            if std::mem::take(&mut first) {
                // Opening the library is not part of a look.
                started = now();
                return ControlFlow::Continue(());
            }
            last = reading;
            left -= 1;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .expect("the fake library answers");
    (now().duration_since(started), last)
}

fn sample_cost(c: &mut Criterion) {
    let mut group = c.benchmark_group("gpu_sample_cost");
    for devices in [1, 8] {
        let fake = FakeNvml::install();
        fake.apply(&format!("devices {devices}"));
        group.bench_function(BenchmarkId::new("one_look", devices), |b| {
            b.iter_custom(|count| looks(&fake, count).0);
        });
        let (_, reading) = looks(&fake, 1);
        group.bench_function(BenchmarkId::new("one_folding", devices), |b| {
            let mut tracker = Tracker::new(TrackerConfig::default());
            let mut at = now();
            b.iter(|| {
                at += Duration::from_millis(500);
                tracker.observe(reading.clone(), at);
                black_box(tracker.snapshot(at))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, sample_cost);
criterion_main!(benches);
