//! What does a hit in local memory cost, next to the engine under it and to its peers?
//!
//! Time is CPU time of the measuring thread: other work on the machine does not
//! count. Keys are 19 byte strings, values 1 KiB behind an `Arc`, 1,000 keys.
//! With two threads both read the same keys and one is measured.
//!
//! Required: the default engine through `get_if_local` at most 1.15 x moka, the
//! fast engine at most 1.3 x quick_cache and at most 0.5 x moka, an awaited hit
//! at most 1.3 x `get_if_local`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lb_cache::{BoxError, Local, TieredCache};
use rustix::time::{ClockId, clock_gettime};

const KEYS: usize = 1_000;
type Value = [u8; 1_024];

fn keys() -> Arc<[String]> {
    (0..KEYS).map(|n| format!("result-{n:012}")).collect()
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn ours(local: Local) -> TieredCache<String, Value> {
    let cache = TieredCache::builder("bench")
        .local(local)
        .build()
        .expect("a valid policy");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    for key in keys().iter() {
        runtime
            .block_on(cache.insert(key.clone(), [7; 1_024]))
            .expect("an insert");
    }
    cache
}

/// Peers are generic code in this crate, as users' are: one monomorphic loop each.
fn measure<F: Fn(&String) -> bool + Send + Sync>(
    rounds: u64,
    threads: usize,
    look: &F,
) -> Duration {
    let (keys, done) = (keys(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for key in keys.iter() {
                        black_box(look(key));
                    }
                }
            });
        }
        let begin = cpu();
        for round in 0..rounds as usize {
            assert!(black_box(look(&keys[(round * 7) % KEYS])));
        }
        let took = cpu() - begin;
        done.store(true, Ordering::Relaxed);
        took
    })
}

fn bench<F: Fn(&String) -> bool + Send + Sync>(c: &mut Criterion, name: &str, look: F) {
    let mut group = c.benchmark_group("local_hit");
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new(name, threads), |b| {
            b.iter_custom(|rounds| measure(rounds, threads, &look));
        });
    }
    group.finish();
}

fn poll_now<F: Future>(future: F) -> Option<F::Output> {
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

fn hits(c: &mut Criterion) {
    let value = || Arc::new([7u8; 1_024]);
    let floor: HashMap<String, Arc<Value>> =
        keys().iter().map(|key| (key.clone(), value())).collect();
    bench(c, "hashmap_and_arc", |key| {
        floor.get(key).cloned().is_some()
    });

    let quick = quick_cache::sync::Cache::new(KEYS * 2);
    let moka = moka::sync::Cache::builder()
        .max_capacity(2 * KEYS as u64)
        .eviction_policy(moka::policy::EvictionPolicy::lru())
        .build();
    let foyer = foyer_memory::CacheBuilder::new(KEYS * 2).build::<foyer_memory::CacheProperties>();
    for key in keys().iter() {
        quick.insert(key.clone(), value());
        moka.insert(key.clone(), value());
        foyer.insert(key.clone(), value());
    }
    bench(c, "quick_cache", |key| quick.get(key).is_some());
    bench(c, "moka_sync", |key| moka.get(key).is_some());
    bench(c, "foyer_memory", |key| foyer.get(key).is_some());

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    // The coarse clock runs while somebody reads.
    let _entered = runtime.enter();
    let capacity = 2 * KEYS as u64;
    let default = ours(Local::ttl(capacity, Duration::from_secs(3_600)));
    let fast = ours(Local::ttl(capacity, Duration::from_secs(3_600)).fast());
    bench(c, "ours_default_get_if_local", |key| {
        default.get_if_local(key).is_some()
    });
    bench(c, "ours_default_awaited", |key| {
        poll_now(default.get(key)).is_some()
    });
    bench(c, "ours_fast_get_if_local", |key| {
        fast.get_if_local(key).is_some()
    });
    bench(c, "ours_fast_awaited", |key| {
        poll_now(fast.get(key)).is_some()
    });
    let loader = || async { Err::<Value, BoxError>("not needed".into()) };
    bench(c, "ours_fast_get_or_load", |key| {
        poll_now(fast.get_or_load(key, loader)).is_some()
    });
}

criterion_group!(benches, hits);
criterion_main!(benches);
