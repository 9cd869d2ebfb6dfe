//! What does each level cost on real servers, next to the published figures?
//!
//! Starts Redis and PostgreSQL on loopback, prints two tables and ends. What a get from
//! Redis costs next to redis-rs alone is the question of `cache_l2`.
//!
//! Latencies are wall time of one caller. Reading the clock costs about as much as
//! a local hit, so local reads are timed in runs of 100, all others one by one.
//! The database is asked the cheapest way there is: pooled, prepared, by primary
//! key, on loopback, with every row in memory. Later reads and the database take
//! turns, so that whatever else the machine does slows both down; each turn has
//! a ratio of its own, and the table shows the middle one and the extremes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lb_cache::postgres::PostgresTier;
use lb_cache::redis::RedisTier;
use lb_cache::tier::{Tier, When};
use lb_cache::{Level, Local, TieredCache};
use testkit::postgres::Postgres;
use testkit::redis::{PASSWORD, Redis};

const CALLS: u32 = 2_000;
const HOUR: Duration = Duration::from_secs(3_600);
const RUN: u32 = 100;
const TURNS: usize = 11;
type Cache = TieredCache<u32, Bytes>;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    Instant::now()
}

/// Median and p99 of what each call took, timed in runs of so many.
async fn latency<F: Future>(run: u32, mut call: impl FnMut(u32) -> F) -> (Duration, Duration) {
    let mut times = Vec::new();
    for first in (0..CALLS).step_by(run as usize) {
        let begin = now();
        for n in first..first + run {
            call(n).await;
        }
        times.push((now() - begin) / run);
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

fn tier(redis: &Redis) -> RedisTier {
    RedisTier::single(redis.url())
        .password(PASSWORD)
        .build()
        .expect("an address")
}

fn value() -> Bytes {
    vec![7u8; 1_024].into()
}

async fn latencies(redis: &Redis, postgres: &Postgres) {
    let database = PostgresTier::new(&postgres.description(), 4).expect("a description");
    database.create_table().await.expect("a table");
    let build = |local: Local| {
        let cache = Cache::builder("bench")
            .local(local)
            .shared(tier(redis), HOUR);
        cache.build().expect("valid")
    };
    let local = Local::ttl(u64::from(CALLS) * 2, HOUR);
    let cache = build(local);
    println!("| call (1 KiB values) | median ms | p99 ms | published ms |\n|---|---|---|---|");
    cache.insert(0, value()).await.expect("warm");
    row(
        "write through local and shared",
        latency(1, |n| cache.insert(n, value())).await,
        "0.36",
    );
    cache.clear_level(Level::Local).await.expect("clears");
    row(
        "first read, from the shared tier",
        latency(1, |n| cache.get(&n)).await,
        "0.12",
    );
    let fast = build(local.fast());
    fast.warm(&(0..CALLS).collect::<Vec<_>>()).await;
    for n in 0..CALLS {
        let put = database.put(n.to_string().into(), value(), None, When::Always);
        put.await.expect("a row");
    }
    against_the_database(&cache, &fast, &database).await;
}

/// Later reads and the database in turns.
async fn against_the_database(cache: &Cache, fast: &Cache, database: &PostgresTier) {
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        turns.push([
            latency(RUN, |n| cache.get(&n)).await,
            latency(RUN, |n| fast.get(&n)).await,
            latency(1, |n| database.get(n.to_string().into())).await,
        ]);
    }
    let names = [
        ("later reads, from local memory", "0.01"),
        ("later reads, from the fast engine", "0.01"),
        ("the same rows from PostgreSQL", "-"),
    ];
    for (index, (name, published)) in names.into_iter().enumerate() {
        let of = |part: fn(&(Duration, Duration)) -> Duration| {
            sorted(turns.iter().map(|turn| part(&turn[index])))[TURNS / 2]
        };
        row(name, (of(|times| times.0), of(|times| times.1)), published);
    }
    println!(
        "\n| times faster than the database | least | median | most | published |\n|---|---|---|---|---|"
    );
    for (index, (name, _)) in names.into_iter().enumerate().take(2) {
        let times =
            sorted(turns.iter().map(|turn| {
                (turn[2].0.as_secs_f64() / turn[index].0.as_secs_f64()).round() as u64
            }));
        println!(
            "| {name} | {} | {} | {} | 100 |",
            times[0],
            times[TURNS / 2],
            times[TURNS - 1]
        );
    }
    println!();
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (redis, postgres) = (
        Redis::start().expect("redis"),
        Postgres::start().expect("postgres"),
    );
    latencies(&redis, &postgres).await;
}
