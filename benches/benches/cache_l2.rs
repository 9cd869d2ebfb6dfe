//! What does a get from Redis cost, next to redis-rs alone?
//!
//! Starts Redis on loopback, prints a table and ends. One caller, 8, 64 and 256 at
//! once, each with keys of its own: callers of one key would share its lookup, and
//! flatter us. Ours is a cache without a local tier; redis-rs alone is the same
//! GETRANGE on a cloned multiplexed connection, which is what its users write.
//! Values are byte strings of 1 KiB, so that no side has decoding to do that the
//! other has not; ours also checks a checksum and counts.
//!
//! CPU is user and system time of this process per get. Both sides take short
//! turns, and each pair of turns has a ratio of its own: the table shows the middle
//! one and the quartiles, so that whatever else the machine does tells on both.
//! Latencies are taken in turns of their own, because reading the clock costs.
//!
//! `cargo bench ... --bench cache_l2 -- ours 64 20000` makes so many gets by one side
//! (`ours` or `alone`) and nothing else, for callgrind and strace.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lb_cache::redis::RedisTier;
use lb_cache::{Local, TieredCache};
use testkit::redis::{PASSWORD, Redis};
use tokio::task::JoinSet;

const CROWDS: [u32; 4] = [1, 8, 64, 256];
/// Keys that one caller asks for, in turn.
const OWN_KEYS: u32 = 8;
/// Pairs of turns for each number of callers.
const TURNS: usize = 41;
/// Gets of one turn, however many callers make them.
const GETS: u32 = 10_000;
/// One caller alone takes its time.
const LONELY_GETS: u32 = 1_500;
const HOUR: Duration = Duration::from_secs(3_600);

type Cache = TieredCache<u32, Bytes>;
type Raw = redis::aio::MultiplexedConnection;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    Instant::now()
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// So many gets in turn over the caller's own keys.
async fn gets<F: Future>(caller: u32, gets: u32, call: impl Fn(u32) -> F) {
    for n in 0..gets {
        call(caller * OWN_KEYS + n % OWN_KEYS).await;
    }
}

/// The same, and how long each took.
async fn timed_gets<F: Future>(caller: u32, gets: u32, call: impl Fn(u32) -> F) -> Vec<Duration> {
    let mut times = Vec::with_capacity(gets as usize);
    for n in 0..gets {
        let begin = now();
        call(caller * OWN_KEYS + n % OWN_KEYS).await;
        times.push(now() - begin);
    }
    times
}

/// One side: what it costs, and how long its callers wait.
trait Side: Clone + Send + Sync + 'static {
    fn get(&self, key: u32) -> impl Future<Output = usize> + Send;

    /// So many callers at once.
    async fn crowd(&self, callers: u32, all: u32) {
        let mut crowd = JoinSet::new();
        for caller in 0..callers {
            let side = self.clone();
            crowd.spawn(async move { gets(caller, all / callers, |key| side.get(key)).await });
        }
        crowd.join_all().await;
    }

    /// CPU of so many callers at once, per get.
    async fn cpu(&self, callers: u32, all: u32) -> Duration {
        let begin = cpu();
        self.crowd(callers, all).await;
        (cpu() - begin) / all
    }

    /// How long each get of so many callers at once takes.
    async fn latencies(&self, callers: u32, all: u32) -> Vec<Duration> {
        let mut crowd = JoinSet::new();
        for caller in 0..callers {
            let side = self.clone();
            crowd
                .spawn(async move { timed_gets(caller, all / callers, |key| side.get(key)).await });
        }
        let mut times = Vec::new();
        while let Some(caller) = crowd.join_next().await {
            times.extend(caller.expect("no panic"));
        }
        times
    }
}

#[derive(Clone)]
struct Ours(Cache);

impl Side for Ours {
    async fn get(&self, key: u32) -> usize {
        let value = self.0.get(&key).await.expect("no error");
        value.expect("a value").len()
    }
}

#[derive(Clone)]
struct Alone(Raw);

impl Side for Alone {
    async fn get(&self, key: u32) -> usize {
        let mut get = redis::cmd("GETRANGE");
        get.arg(format!("lb:{{}}:bench:0:{key}"))
            .arg(0)
            .arg(16 << 20);
        let mut raw = self.0.clone();
        let value: Vec<u8> = get.query_async(&mut raw).await.expect("an answer");
        assert!(value.len() > 1_024);
        value.len()
    }
}

/// The element at this share of the sorted items.
fn at<T: Copy + PartialOrd>(items: &mut [T], share: f64) -> T {
    items.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    items[((items.len() - 1) as f64 * share) as usize]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Questions that ours has asked so far.
fn questions(ours: &Ours) -> u64 {
    ours.0.stats().shared.expect("a shared tier").latency.count
}

async fn row(callers: u32, ours: &Ours, alone: &Alone) {
    let all = if callers == 1 { LONELY_GETS } else { GETS };
    let (mut own, mut raw, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let asked = questions(ours);
    for turn in 0..TURNS {
        let (a, b) = if turn % 2 == 0 {
            let first = ours.cpu(callers, all).await;
            (first, alone.cpu(callers, all).await)
        } else {
            let first = alone.cpu(callers, all).await;
            (ours.cpu(callers, all).await, first)
        };
        own.push(micros(a));
        raw.push(micros(b));
        ratios.push(micros(a) / micros(b));
    }
    let asked = questions(ours) - asked;
    let (mut slow, mut slow_raw) = (Vec::new(), Vec::new());
    for _ in 0..TURNS / 4 {
        slow.extend(ours.latencies(callers, all).await);
        slow_raw.extend(alone.latencies(callers, all).await);
    }
    let keys = (TURNS as u32 * (all / callers * callers)) as f64 / asked as f64;
    println!(
        "| {callers} | {:.2} | {:.2} | **{:.2}** ({:.2} to {:.2}) | {keys:.1} | {:.0} / {:.0} | {:.0} / {:.0} |",
        at(&mut own, 0.5),
        at(&mut raw, 0.5),
        at(&mut ratios, 0.5),
        at(&mut ratios, 0.25),
        at(&mut ratios, 0.75),
        micros(at(&mut slow, 0.5)),
        micros(at(&mut slow, 0.99)),
        micros(at(&mut slow_raw, 0.5)),
        micros(at(&mut slow_raw, 0.99)),
    );
}

async fn sides(redis: &Redis) -> (Ours, Alone) {
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port());
    let client = redis::Client::open(url).expect("an address");
    let raw = client.get_multiplexed_async_connection().await;
    let tier = RedisTier::single(redis.url()).password(PASSWORD).build();
    let cache = Cache::builder("bench")
        .local(Local::none())
        .shared(tier.expect("an address"), HOUR)
        .build()
        .expect("valid");
    let value = Bytes::from(vec![7u8; 1_024]);
    for key in 0..CROWDS[CROWDS.len() - 1] * OWN_KEYS {
        cache.insert(key, value.clone()).await.expect("room");
    }
    (Ours(cache), Alone(raw.expect("redis")))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let redis = Redis::start().expect("redis");
    let (ours, alone) = sides(&redis).await;
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [side, callers, all, ..] = &words[..] {
        let (callers, all) = (
            callers.parse().expect("callers"),
            all.parse().expect("gets"),
        );
        return match side.as_str() {
            "ours" => ours.crowd(callers, all).await,
            _ => alone.crowd(callers, all).await,
        };
    }
    println!(
        "| callers | ours, CPU µs per get | redis-rs alone | ratio (quartiles) | keys per question | ours, p50 / p99 µs | redis-rs, p50 / p99 µs |\n|---|---|---|---|---|---|---|"
    );
    for callers in CROWDS {
        row(callers, &ours, &alone).await;
    }
}
