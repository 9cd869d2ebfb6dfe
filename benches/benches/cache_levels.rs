//! What does each level cost on real servers, next to the raw client and to the published figures?
//!
//! Starts Redis and PostgreSQL on loopback, prints two tables and ends.
//!
//! Latencies are wall time of one caller. Reading the clock costs about as much as
//! a local hit, so local reads are timed in runs of 100, all others one by one.
//! The database is asked the cheapest way there is: pooled, prepared, by primary
//! key, on loopback, with every row in memory. Later reads and the database take
//! turns, so that whatever else the machine does slows both down; each turn has
//! a ratio of its own, and the table shows the middle one and the extremes.
//!
//! CPU is user and system time of this process per get with 64 callers at once,
//! all in one run: ours, the same GETRANGE by redis-rs alone (what its users
//! write), and redis-rs with pipelines of 64 made by hand (the floor: it has no
//! callers to wake). Values are byte strings, so that no side has decoding to do
//! that the others have not. Ours checks a checksum, decodes and counts.

use std::time::{Duration, Instant};

use bytes::Bytes;
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
/// Keys that one caller asks for.
const OWN_KEYS: usize = CALLS as usize / CALLERS;
const HOUR: Duration = Duration::from_secs(3_600);
const RUN: u32 = 100;
const TURNS: usize = 11;
type Cache = TieredCache<u32, Bytes>;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    Instant::now()
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
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

/// CPU of so many callers at once, each `gets` times. Each has keys of its own:
/// callers of one key would share its lookup, and flatter us.
async fn crowd<F>(
    callers: usize,
    gets: usize,
    call: impl Fn(u32) -> F + Clone + Send + 'static,
) -> Duration
where
    F: Future + Send,
    F::Output: Send,
{
    let begin = cpu();
    let mut crowd = JoinSet::new();
    for caller in 0..callers {
        let call = call.clone();
        crowd.spawn(async move {
            for n in 0..gets {
                call((caller * OWN_KEYS + n % OWN_KEYS) as u32).await;
            }
        });
    }
    while crowd.join_next().await.is_some() {}
    cpu() - begin
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

type Raw = redis::aio::MultiplexedConnection;

fn get_range(n: u32) -> redis::Cmd {
    let mut get = redis::cmd("GETRANGE");
    get.arg(format!("lb:{{}}:bench:0:{n}")).arg(0).arg(16 << 20);
    get
}

async fn one_by_one(raw: &Raw) -> Duration {
    let raw = raw.clone();
    let call = move |n| {
        let mut raw = raw.clone();
        async move {
            get_range(n)
                .query_async::<Vec<u8>>(&mut raw)
                .await
                .expect("an answer")
        }
    };
    crowd(CALLERS, GETS, call).await
}

async fn by_hand(raw: &Raw) -> Duration {
    let raw = raw.clone();
    let call = move |n| {
        let mut raw = raw.clone();
        async move {
            let mut pipeline = redis::pipe();
            for key in n..n + CALLERS as u32 {
                pipeline.add_command(get_range(key % CALLS));
            }
            pipeline
                .query_async::<Vec<Vec<u8>>>(&mut raw)
                .await
                .expect("answers")
        }
    };
    crowd(1, GETS, call).await
}

async fn cpu_per_get(redis: &Redis) {
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port());
    let client = redis::Client::open(url).expect("an address");
    let raw = client
        .get_multiplexed_async_connection()
        .await
        .expect("redis");
    let cache: Cache = TieredCache::builder("bench")
        .shared(tier(redis), HOUR)
        .build()
        .expect("valid");
    let mut runs = Vec::new();
    for _ in 0..7 {
        let cache = cache.clone();
        let ours = crowd(CALLERS, GETS, move |n| cache.get(&n)).await;
        runs.push([one_by_one(&raw).await, by_hand(&raw).await, ours]);
    }
    let stats = cache.stats().shared.expect("a shared tier");
    let gets = (CALLERS * GETS * runs.len()) as u64;
    assert_eq!(
        (stats.hits, stats.latency.count < gets / 4),
        (gets, true),
        "hits, in batches"
    );
    let best = |index: usize| {
        let least = runs.iter().map(|run: &[Duration; 3]| run[index]).min();
        least.expect("runs").as_secs_f64() * 1e6 / (CALLERS * GETS) as f64
    };
    let raw = best(0);
    println!("| 64 concurrent gets from Redis | CPU µs per get | ratio |\n|---|---|---|");
    for (what, index) in [
        ("redis-rs, one GETRANGE per caller", 0),
        ("redis-rs, pipelines of 64 by hand", 1),
        ("lb-cache, no local tier", 2),
    ] {
        println!("| {what} | {:.2} | {:.2} |", best(index), best(index) / raw);
    }
    println!(
        "\nkeys per question of ours: {:.1}",
        gets as f64 / stats.latency.count as f64
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (redis, postgres) = (
        Redis::start().expect("redis"),
        Postgres::start().expect("postgres"),
    );
    latencies(&redis, &postgres).await;
    cpu_per_get(&redis).await;
}
