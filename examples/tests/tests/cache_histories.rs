//! Random histories of two processes on one real Redis server.
//!
//! Law: no reader sees a value older than an invalidation of its own process that
//! completed before its read began. The control invalidates as one does by hand, in
//! Redis alone: the same judge must find fault with that.

#![allow(
    clippy::unwrap_used,
    reason = "a step of these tests that fails ends the test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lb_cache::redis::RedisTier;
use lb_cache::tier::Tier as _;
use lb_cache::{BoxError, Level, Local, TieredCache};
use testkit::redis::{PASSWORD, Redis};

const KEYS: usize = 3;
const STEPS: usize = 400;

/// One number per key; it only grows.
type Versions = Arc<[AtomicU64; KEYS]>;

/// How a key is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ours,
    InRedisAlone,
}

#[derive(Clone)]
struct Process {
    cache: TieredCache<u64, u64>,
    redis: Arc<RedisTier>,
    way: Way,
    truth: Versions,
    /// The newest version of each key that was invalidated here.
    floors: Versions,
}

impl Process {
    fn new(server: &Redis, way: Way, truth: &Versions) -> Self {
        let [shared, redis] = [(); 2].map(|()| {
            let redis = RedisTier::single(server.url()).password(PASSWORD);
            redis.build().expect("an address")
        });
        let cache = TieredCache::builder(format!("{way:?}"))
            .local(Local::ttl(100, Duration::from_secs(60)))
            .shared(shared, Duration::from_secs(600))
            .build();
        Self {
            cache: cache.expect("a valid policy"),
            redis: Arc::new(redis),
            way,
            truth: Arc::clone(truth),
            floors: Arc::default(),
        }
    }

    fn floor(&self, key: usize) -> u64 {
        self.floors[key].load(Ordering::SeqCst)
    }

    async fn read(&self, key: usize) -> Result<(), String> {
        let (floor, truth) = (self.floor(key), Arc::clone(&self.truth));
        let load = move || async move {
            let version = truth[key].load(Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok::<_, BoxError>(version)
        };
        let seen = *self.cache.get_or_load(&(key as u64), load).await.unwrap();
        judge(key, floor, seen)
    }

    async fn read_many(&self, keys: &[usize]) -> Result<(), String> {
        let floors: Vec<u64> = keys.iter().map(|key| self.floor(*key)).collect();
        let wire: Vec<u64> = keys.iter().map(|key| *key as u64).collect();
        let seen = self.cache.get_many(&wire).await;
        for ((key, floor), seen) in keys.iter().zip(floors).zip(seen) {
            if let Some(seen) = seen.unwrap() {
                judge(*key, floor, *seen)?;
            }
        }
        Ok(())
    }

    async fn invalidate(&self, key: usize) {
        let version = self.truth[key].fetch_add(1, Ordering::SeqCst) + 1;
        match self.way {
            Way::Ours => self.cache.invalidate(&(key as u64)).await.unwrap(),
            Way::InRedisAlone => {
                let wire = format!("lb:{{}}:{:?}:0:{key}", self.way);
                self.redis.clear(wire.into()).await.unwrap();
            }
        }
        self.floors[key].fetch_max(version, Ordering::SeqCst);
    }

    async fn clear(&self) {
        let newest: Vec<u64> = (0..KEYS)
            .map(|key| self.truth[key].load(Ordering::SeqCst))
            .collect();
        self.cache.clear().await.unwrap();
        for (floor, version) in self.floors.iter().zip(newest) {
            floor.fetch_max(version, Ordering::SeqCst);
        }
    }

    async fn act(self, seed: u64) -> Result<(), String> {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..STEPS {
            let key = random.usize(..KEYS);
            match random.u32(..100) {
                0..60 => self.read(key).await?,
                60..75 => self.read_many(&[key, 0, 1, key]).await?,
                75..90 => self.invalidate(key).await,
                90..97 => self.cache.clear_level(Level::Local).await.unwrap(),
                97..99 => self.cache.clear_level(Level::Shared).await.unwrap(),
                _ => self.clear().await,
            }
        }
        Ok(())
    }
}

fn judge(key: usize, floor: u64, seen: u64) -> Result<(), String> {
    if seen < floor {
        return Err(format!("key {key}: {seen} after {floor} was invalidated"));
    }
    Ok(())
}

/// Two processes of three actors each; the first fault, if there is one.
async fn history(server: &Redis, way: Way) -> Result<(), String> {
    let truth = Versions::default();
    let processes = [(); 2].map(|()| Process::new(server, way, &truth));
    let actors: Vec<_> = (0..6)
        .map(|seed| tokio::spawn(processes[seed as usize % 2].clone().act(seed)))
        .collect();
    for actor in actors {
        actor.await.unwrap()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_what_was_invalidated_before() {
    let redis = Redis::start().expect("redis");
    assert_eq!(history(&redis, Way::Ours).await, Ok(()));
    let fault = history(&redis, Way::InRedisAlone).await;
    assert!(fault.is_err(), "the judge is blind");
}
