//! Keys that are asked for together go to a tier together, and do not share their misfortune.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lb_cache::codec::Codec;
use lb_cache::source::BoxFuture;
use lb_cache::tier::{Answer, Chaos, ChaosTier, MemoryTier, Tier, TierError, When};
use lb_cache::{BoxError, CacheError, Level, Local, TieredCache};

const HOUR: Duration = Duration::from_secs(3_600);
type Cache = TieredCache<u32, u32>;

/// Counts questions. Odd keys lie in a part of their own, which may freeze.
#[derive(Clone)]
struct TwoParts {
    even: Arc<MemoryTier>,
    odd: ChaosTier<MemoryTier>,
    questions: Arc<AtomicUsize>,
    largest: Arc<AtomicUsize>,
    /// How long an answer takes.
    distance: Duration,
}

impl TwoParts {
    fn new() -> Self {
        Self {
            even: Arc::new(MemoryTier::new(10_000)),
            odd: ChaosTier::new(MemoryTier::new(10_000)),
            questions: Arc::default(),
            largest: Arc::default(),
            distance: Duration::ZERO,
        }
    }

    fn part(&self, key: &[u8]) -> &dyn Tier {
        match self.fault_domain(key) {
            0 => &*self.even,
            _ => &self.odd,
        }
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

impl Tier for TwoParts {
    fn name(&self) -> &'static str {
        "two parts"
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::time::sleep(self.distance).await;
            self.part(&key).get(key).await
        })
    }

    fn get_many(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Answer>> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.largest.fetch_max(keys.len(), Ordering::SeqCst);
        let parts: HashSet<_> = keys.iter().map(|key| self.fault_domain(key)).collect();
        assert_eq!(parts.len(), 1, "one question, one part");
        Box::pin(async move {
            tokio::time::sleep(self.distance).await;
            self.part(&keys[0]).get_many(keys).await
        })
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        self.part(&key).put(key, value, ttl, when)
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        self.even.clear(prefix)
    }

    fn fault_domains(&self) -> usize {
        2
    }

    fn fault_domain(&self, key: &[u8]) -> usize {
        key.last().map_or(0, |last| usize::from(last % 2))
    }
}

async fn filled(tier: &TwoParts, keys: u32) -> Cache {
    let cache = Cache::builder("batch")
        .local(Local::lru(10_000))
        .shared(tier.clone(), HOUR)
        .virtual_time()
        .build()
        .expect("a valid policy");
    for key in 0..keys {
        cache.insert(key, key * 3).await.expect("an insert");
    }
    cache.clear_level(Level::Local).await.expect("clears");
    cache
}

#[tokio::test(start_paused = true)]
async fn callers_at_the_same_time_share_a_question() {
    let mut tier = TwoParts::new();
    tier.distance = Duration::from_millis(1);
    let cache = filled(&tier, 100).await;
    let callers: Vec<_> = (0..100)
        .map(|key| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get(&key).await })
        })
        .collect();
    for (key, caller) in (0u32..).zip(callers) {
        let value = caller.await.expect("no panic").expect("a value");
        assert_eq!(value.as_deref(), Some(&(key * 3)));
    }
    assert!(tier.questions() <= 6, "{} for 100 keys", tier.questions());
}

#[tokio::test(start_paused = true)]
async fn a_lone_caller_that_stops_polling_delays_nobody_else() {
    let mut tier = TwoParts::new();
    tier.distance = Duration::from_millis(1);
    let cache = filled(&tier, 40).await;
    // It asks, and is not polled again.
    let mut idle = [cache.get(&0), cache.get(&1)];
    for lookup in &mut idle {
        let polled = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *lookup).poll(cx))
        });
        assert!(polled.await.is_pending());
    }
    let same_key = look_up(cache.clone(), 0);
    let same_part = look_up(cache.clone(), 3);
    let soon = async { tokio::join!(same_key, same_part) };
    tokio::time::timeout(Duration::from_millis(5), soon)
        .await
        .expect("nobody waits for the idle ones");
    for lookup in idle {
        assert!(lookup.await.expect("no error").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_behind_a_question_that_times_out_is_not_sent_after_it() {
    let tier = TwoParts::new();
    let cache = filled(&tier, 20).await;
    cache.get(&1).await.expect("its distance is known now");
    cache.clear_level(Level::Local).await.expect("clears");
    tier.odd.set(Chaos::Frozen);
    let before = tier.questions();
    let all = (1..20).step_by(2).map(|key| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(&key).await })
    });
    let all: Vec<_> = all.collect();
    let in_one_deadline = async {
        for lookup in all {
            assert_eq!(lookup.await.expect("no panic").expect("no error"), None);
        }
    };
    tokio::time::timeout(Duration::from_millis(300), in_one_deadline)
        .await
        .expect("not one deadline after the other");
    assert_eq!(tier.questions() - before, 1);
}

async fn look_up(cache: Cache, key: u32) {
    let value = cache.get(&key).await.expect("no error");
    assert_eq!(value.as_deref(), Some(&(key * 3)));
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_one_question_to_each_part() {
    let tier = TwoParts::new();
    let cache = filled(&tier, 100).await;
    let keys: Vec<u32> = (0..100).collect();
    let values = cache.get_many(&keys).await;
    assert!(values.iter().all(Result::is_ok));
    assert_eq!(
        (tier.questions(), tier.largest.load(Ordering::SeqCst)),
        (2, 50)
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_is_bounded_however_many_ask() {
    let tier = TwoParts::new();
    let cache = filled(&tier, 1_000).await;
    let keys: Vec<u32> = (0..1_000).collect();
    let found = cache.warm(&keys).await;
    assert_eq!((found, tier.largest.load(Ordering::SeqCst)), (1_000, 64));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_part_delays_only_its_own_keys() {
    let tier = TwoParts::new();
    let cache = filled(&tier, 20).await;
    tier.odd.set(Chaos::Frozen);
    let frozen = cache.get(&1);
    let healthy = async {
        for key in (0..20).step_by(2) {
            assert_eq!(
                cache.get(&key).await.expect("a value").as_deref(),
                Some(&(key * 3))
            );
        }
    };
    tokio::time::timeout(Duration::from_millis(1), healthy)
        .await
        .expect("at once");
    assert_eq!(
        frozen.await.expect("no error"),
        None,
        "its deadline is over"
    );
}

#[tokio::test(start_paused = true)]
async fn dropped_callers_of_a_batch_harm_nobody() {
    let tier = TwoParts::new();
    let cache = filled(&tier, 10).await;
    let dropped: Vec<_> = (0..10).map(|key| cache.get(&key)).collect();
    let kept = cache.get(&4);
    drop(dropped);
    assert_eq!(kept.await.expect("a value").as_deref(), Some(&12));
    assert_eq!(
        cache.stats().local.entries,
        10,
        "the dropped ones were answered too"
    );
}

/// Panics when it decodes 13.
struct Superstitious;

impl Codec<u32> for Superstitious {
    fn id(&self) -> u8 {
        200
    }

    fn encode(&self, value: &u32) -> Result<Vec<u8>, BoxError> {
        Ok(value.to_be_bytes().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u32, BoxError> {
        let value = u32::from_be_bytes(bytes.try_into()?);
        assert_ne!(value, 13);
        Ok(value)
    }
}

#[tokio::test(start_paused = true)]
async fn a_decoder_that_panics_takes_no_other_key_along() {
    let tier = TwoParts::new();
    let cache = Cache::builder("panic")
        .shared(tier, HOUR)
        .codec(Superstitious)
        .build()
        .expect("a valid policy");
    let keys: Vec<u32> = (0..20).collect();
    for key in &keys {
        cache.insert(*key, *key).await.expect("an insert");
    }
    let values = cache.get_many(&keys).await;
    for (key, value) in (0u32..).zip(values) {
        let expected = (key != 13).then_some(key);
        assert_eq!(value.expect("no error").as_deref().copied(), expected);
    }
    assert_eq!(cache.stats().shared.expect("a tier").corrupt, 1);
}

#[test]
fn a_runtime_that_shuts_down_releases_who_waits_on_another() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    };
    let (gone, lasting) = (runtime(), runtime());
    let tier = TwoParts::new();
    let cache = lasting.block_on(filled(&tier.clone(), 2));
    tier.odd.set(Chaos::Frozen);
    // The second caller makes a task there of what the first one carried.
    let look_up_on = |runtime: &tokio::runtime::Runtime| {
        let _entered = runtime.enter();
        cache.get(&1)
    };
    let (orphan, joined) = (look_up_on(&gone), look_up_on(&lasting));
    drop(gone);
    tier.odd.set(Chaos::Well);
    lasting.block_on(async {
        assert!(matches!(orphan.await, Err(CacheError::Dropped)));
        assert!(matches!(joined.await, Err(CacheError::Dropped)));
        assert_eq!(cache.get(&1).await.expect("a value").as_deref(), Some(&3));
    });
}
