//! What does each level cost on real servers, next to the raw client and to the published figures?
//!
//! Starts Redis and PostgreSQL on loopback, prints one table and ends. Latencies
//! are wall time of one caller; `CPU` is user and system time of this process per
//! get with 64 callers at once, ours next to the same GETRANGE by redis-rs alone.

use std::time::{Duration, Instant};

use lb_cache::postgres::PostgresTier;
use lb_cache::redis::RedisTier;
use lb_cache::tier::{Tier, When};
use lb_cache::{Level, Local, TieredCache};
use testkit::postgres::Postgres;
use testkit::redis::{PASSWORD, Redis};
use tokio::task::JoinSet;

const CALLS: u32 = 2_000;
const CALLERS: usize = 64;
const GETS: usize = 1_500;
const HOUR: Duration = Duration::from_secs(3_600);
type Cache = TieredCache<u32, Vec<u8>>;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    Instant::now()
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Median and p99 of what each call took.
async fn latency<F: Future>(mut call: impl FnMut(u32) -> F) -> (Duration, Duration) {
    let mut times = Vec::new();
    for n in 0..CALLS {
        let begin = now();
        call(n).await;
        times.push(now() - begin);
    }
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn row(what: &str, (median, p99): (Duration, Duration), published: &str) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {what} | {:.4} | {:.4} | {published} |",
        millis(median),
        millis(p99)
    );
}

/// CPU per get with many callers at once.
async fn crowd<F, G>(call: impl Fn(u32) -> F + Clone + Send + 'static) -> Duration
where
    F: Future<Output = G> + Send,
    G: Send,
{
    let begin = cpu();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let call = call.clone();
        callers.spawn(async move {
            for n in 0..GETS {
                call(((caller * 31 + n) % CALLS as usize) as u32).await;
            }
        });
    }
    while callers.join_next().await.is_some() {}
    (cpu() - begin) / (CALLERS * GETS) as u32
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (redis, postgres) = (
        Redis::start().expect("redis"),
        Postgres::start().expect("postgres"),
    );
    let build = || {
        RedisTier::single(redis.url())
            .password(PASSWORD)
            .build()
            .expect("an address")
    };
    let database = PostgresTier::new(&postgres.description(), 4).expect("a description");
    database.create_table().await.expect("a table");
    let local = Local::ttl(u64::from(CALLS) * 2, HOUR);
    let cache: Cache = TieredCache::builder("bench")
        .local(local)
        .shared(build(), HOUR)
        .build()
        .expect("valid");
    println!("| call (1 KiB values) | median ms | p99 ms | published ms |\n|---|---|---|---|");
    let value = || vec![7u8; 1_024];
    cache.insert(0, value()).await.expect("warm");
    row(
        "write through local and shared",
        latency(|n| cache.insert(n, value())).await,
        "0.36",
    );
    cache.clear_level(Level::Local).await.expect("clears");
    row(
        "first read, from the shared tier",
        latency(|n| cache.get(&n)).await,
        "0.12",
    );
    let later = latency(|n| cache.get(&n)).await;
    row("later reads, from local memory", later, "0.01");
    for n in 0..CALLS {
        let key = bytes::Bytes::from(n.to_string());
        database
            .put(key, value().into(), None, When::Always)
            .await
            .expect("a row");
    }
    let from_database = latency(|n| database.get(n.to_string().into())).await;
    row("the same rows from PostgreSQL", from_database, "-");
    println!(
        "\nlater reads are {:.0} times faster than the database (published: 100)",
        from_database.0.as_secs_f64() / later.0.as_secs_f64()
    );

    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port());
    let raw = redis::Client::open(url)
        .expect("an address")
        .get_multiplexed_async_connection()
        .await
        .expect("redis");
    let shared_only: Cache = TieredCache::builder("bench")
        .shared(build(), HOUR)
        .build()
        .expect("valid");
    let mut pairs = Vec::new();
    for _ in 0..5 {
        let raw = raw.clone();
        let theirs = crowd(move |n| {
            let mut raw = raw.clone();
            async move {
                let get = redis::cmd("GETRANGE")
                    .arg(format!("lb:{{}}:bench:0:{n}"))
                    .arg(0)
                    .arg(16 << 20)
                    .take();
                get.query_async::<Vec<u8>>(&mut raw)
                    .await
                    .expect("an answer")
            }
        })
        .await;
        let cache = shared_only.clone();
        let ours = crowd(move |n| cache.get(&n)).await;
        pairs.push((theirs, ours));
    }
    let (theirs, ours) = pairs
        .into_iter()
        .min_by_key(|(theirs, ours)| *theirs + *ours)
        .expect("five runs");
    println!(
        "CPU per shared get, 64 callers: redis-rs {theirs:?}, ours {ours:?}, ratio {:.2}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}
