//! What does one scheduling decision cost as the queue grows?
//!
//! A decision is what a finished job causes: give back, choose who is next,
//! and queue one more request so that the length stays. 100 tenants with
//! different weights, 8 slots. `blocked` is the bad case: the first in line
//! never fits, and the walk down the line goes its full length each time.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lb_gpu::fair::{Demand, FairShare, Scheduler, Ticket};

const TENANTS: usize = 100;

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    Instant::now()
}

fn request(scheduler: &mut Scheduler, tenant: usize, slots: u32, now: Instant) {
    let demand = Demand::slots(slots).expected(Duration::from_secs(1));
    let queued = scheduler.request(&format!("tenant-{tenant}"), demand, now);
    queued.expect("there is room in the queue");
}

/// A scheduler with this many requests waiting, and who holds its slots.
fn busy(waiting: usize, now: Instant) -> (Scheduler, Vec<Ticket>) {
    let mut builder = FairShare::builder()
        .slots(8)
        .never_reserve()
        .max_waiting(1 << 20, 1 << 20);
    for tenant in 0..TENANTS {
        builder = builder.tenant(format!("tenant-{tenant}"), (tenant % 4 + 1) as f64);
    }
    let mut scheduler = builder.build_scheduler().expect("these settings work");
    for n in 0..waiting + 8 {
        request(&mut scheduler, n % TENANTS, 1, now);
    }
    let running = std::iter::from_fn(|| scheduler.next_grant(now)).map(|grant| grant.ticket);
    let running = running.collect();
    (scheduler, running)
}

fn decision(c: &mut Criterion) {
    let mut group = c.benchmark_group("gpu_scheduler_decision");
    for waiting in [10, 1_000, 100_000] {
        let mut now = start();
        let (mut scheduler, mut running) = busy(waiting, now);
        let mut tenant = 0;
        group.bench_function(BenchmarkId::new("release_choose_queue", waiting), |b| {
            b.iter(|| {
                now += Duration::from_millis(125);
                scheduler.release(running.remove(0), now);
                while let Some(grant) = scheduler.next_grant(now) {
                    running.push(grant.ticket);
                }
                tenant = (tenant + 1) % TENANTS;
                request(&mut scheduler, tenant, 1, now);
            });
        });
        let now = start();
        let (mut scheduler, _running) = busy(waiting, now);
        group.bench_function(BenchmarkId::new("blocked", waiting), |b| {
            b.iter(|| assert_eq!(scheduler.next_grant(now), None));
        });
    }
    group.finish();
}

criterion_group!(benches, decision);
criterion_main!(benches);
