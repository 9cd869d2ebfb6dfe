//! Nothing brings an older value back, and nothing newer is undone, whatever ends late.

use std::time::Duration;

use bytes::Bytes;
use lb_cache::source::BoxFuture;
use lb_cache::tier::{Answer, Chaos, ChaosTier, MemoryTier, Tier, TierError, When};
use lb_cache::{BoxError, Builder, CacheError, Level, Loaded, Local, Policy, TieredCache};

const SECOND: Duration = Duration::from_secs(1);
type Cache = TieredCache<String, Vec<u8>>;
type Memory = ChaosTier<MemoryTier>;

fn tier() -> Memory {
    ChaosTier::new(MemoryTier::new(100))
}

/// Lives 100 s here, and is renewed after 80.
fn builder() -> Builder<String, Vec<u8>> {
    but(|_policy| {})
}

/// The same, but for what `change` changes.
fn but(change: fn(&mut Policy)) -> Builder<String, Vec<u8>> {
    let mut policy = Policy::default();
    policy.local = Local::ttl(100, 100 * SECOND);
    policy.refresh_at = Some(0.8);
    policy.jitter = 0.0;
    change(&mut policy);
    Cache::builder("test").policy(policy).virtual_time()
}

fn k() -> String {
    "k".to_owned()
}

async fn load(cache: &Cache, loaded: Result<Loaded<Vec<u8>>, &'static str>) -> Option<u8> {
    let loader = move || async move { loaded.map_err(BoxError::from) };
    match cache.get_or_load(&k(), loader).await {
        Ok(value) => Some(value[0]),
        Err(CacheError::Absent) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Waits until nothing is under way any more.
async fn settle(cache: &Cache) {
    while cache.stats().loads.in_flight > 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(SECOND).await;
}

/// Loads 1, then loads again when that is ageing, and says what another process sees then.
async fn seen_elsewhere_after(policy: Builder<String, Vec<u8>>, again: Loaded<Vec<u8>>) -> u64 {
    let redis = tier();
    let cache = policy
        .shared(redis.clone(), 100 * SECOND)
        .build()
        .expect("a valid policy");
    load(&cache, Ok(Loaded::value(vec![1]))).await;
    settle(&cache).await;
    tokio::time::advance(80 * SECOND).await;
    assert_eq!(load(&cache, Ok(again)).await, Some(1), "it is ageing");
    settle(&cache).await;
    let other = builder().shared(redis, 100 * SECOND).build();
    let other = other.expect("a valid policy");
    let seen = other.get(&k()).await.expect("answers");
    seen.map_or(0, |seen| u64::from(seen[0]))
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_gone_at_its_source_does_not_come_back_from_a_tier() {
    assert_eq!(seen_elsewhere_after(builder(), Loaded::absent()).await, 0);
    let forgetful = but(|policy| policy.negative = None);
    assert_eq!(seen_elsewhere_after(forgetful, Loaded::absent()).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_no_tier_takes_leaves_no_older_one_there() {
    let small = || but(|policy| policy.max_value_bytes = 200);
    let newer = Loaded::value(vec![2; 10]);
    assert_eq!(seen_elsewhere_after(small(), newer).await, 2, "control");
    let too_large = Loaded::value(vec![2; 1_000]);
    assert_eq!(seen_elsewhere_after(small(), too_large).await, 0);
    let for_now_only = Loaded::value(vec![2]).ttl(Duration::ZERO);
    assert_eq!(seen_elsewhere_after(small(), for_now_only).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_shall_not_be_kept_does_not_stand_in_for_a_failing_source() {
    let cache = builder()
        .serve_stale(60 * SECOND, 5 * SECOND)
        .build()
        .unwrap();
    let for_now_only = Loaded::value(vec![1]).ttl(Duration::ZERO);
    assert_eq!(load(&cache, Ok(for_now_only)).await, Some(1));
    let down = || async { Err::<Vec<u8>, _>(BoxError::from("down")) };
    assert!(cache.get_or_load(&k(), down).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_does_not_shorten_the_life_of_what_a_tier_holds_too() {
    let redis = tier();
    let cache = builder()
        .serve_stale(600 * SECOND, 5 * SECOND)
        .shared(redis.clone(), 100 * SECOND)
        .build()
        .unwrap();
    load(&cache, Ok(Loaded::value(vec![1]))).await;
    settle(&cache).await;
    tokio::time::advance(80 * SECOND).await;
    assert_eq!(load(&cache, Err("down")).await, Some(1));
    settle(&cache).await;
    assert_eq!(cache.stats().local.stale_served, 0, "it is fresh");
    redis.set(Chaos::Failing);
    tokio::time::advance(10 * SECOND).await;
    assert_eq!(
        load(&cache, Err("down")).await,
        Some(1),
        "it is fresh still"
    );
    settle(&cache).await;
    tokio::time::advance(100 * SECOND).await;
    assert_eq!(load(&cache, Err("down")).await, Some(1), "it is stale");
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_ends_after_a_clear_brings_nothing_back() {
    let (redis, database) = (tier(), tier());
    let build = || {
        builder()
            .shared(redis.clone(), 100 * SECOND)
            .database(database.clone())
            .build()
            .unwrap()
    };
    let (cache, slow) = (build(), redis.clone());
    let loader = move || async move {
        // The tiers have been asked; the first fill will hang.
        slow.set(Chaos::Frozen);
        Ok::<_, BoxError>(vec![1])
    };
    cache.get_or_load(&k(), loader).await.unwrap();
    redis.set(Chaos::Well);
    cache.clear().await.unwrap();
    settle(&cache).await;
    assert_eq!(cache.get(&k()).await.unwrap(), None);
    assert_eq!(build().get(&k()).await.unwrap(), None, "after a restart");
}

/// Two instances on one tier.
fn two(redis: &Memory) -> [Cache; 2] {
    [(); 2].map(|()| {
        let shared = builder().shared(redis.clone(), 100 * SECOND);
        shared.build().expect("a valid policy")
    })
}

/// Begins to load 1; what comes back ends it.
async fn begin_to_load(cache: &Cache) -> impl AsyncFnOnce() {
    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    let slow = move || async move {
        wait.await.map_err(BoxError::from)?;
        Ok::<_, BoxError>(vec![1])
    };
    let loading = tokio::spawn(cache.get_or_load(&k(), slow));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let cache = cache.clone();
    async move || {
        go_on.send(()).expect("it waits");
        let loaded = loading.await.expect("no panic");
        assert_eq!(*loaded.expect("loads"), [1]);
        settle(&cache).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_began_before_a_clear_was_made_good_does_not_outlive_a_tombstone() {
    let redis = tier();
    let [cache, other] = two(&redis);
    redis.set(Chaos::Failing);
    cache.clear().await.unwrap();
    redis.set(Chaos::Well);
    let end = begin_to_load(&cache).await;
    other.invalidate(&k()).await.unwrap();
    // The clear is made good, and takes the tombstone along.
    tokio::time::sleep(SECOND).await;
    end().await;
    assert_eq!(other.get(&k()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_load_of_another_instance_that_ends_after_a_clear_is_not_believed() {
    let redis = tier();
    let [cache, other] = two(&redis);
    let end = begin_to_load(&other).await;
    cache.clear().await.unwrap();
    tokio::time::sleep(SECOND).await;
    end().await;
    assert_eq!(cache.get(&k()).await.unwrap(), None, "older than the clear");
    other.insert(k(), vec![2]).await.unwrap();
    let newer = cache.get(&k()).await.unwrap().expect("newer than that");
    assert_eq!(*newer, [2]);
}

/// A tier whose answers take time, and that takes time to clear itself.
struct Slow {
    tier: Memory,
    to_answer: Duration,
    to_clear: Duration,
}

impl Tier for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let answer = self.tier.get(key).await;
            tokio::time::sleep(self.to_answer).await;
            answer
        })
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        self.tier.put(key, value, ttl, when)
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        Box::pin(async move {
            tokio::time::sleep(self.to_clear).await;
            self.tier.clear(prefix).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_on_its_way_up_when_a_clear_came_is_not_believed() {
    let (redis, database) = (tier(), tier());
    let above = || {
        let deadline = builder().tier_deadline(10 * SECOND);
        deadline.shared(redis.clone(), 100 * SECOND)
    };
    let slow = Slow {
        tier: database.clone(),
        to_answer: 2 * SECOND,
        to_clear: Duration::ZERO,
    };
    let other = above().database(slow).build().unwrap();
    let cache = above().database(database.clone()).build().unwrap();
    let below = builder().database(database).build().unwrap();
    below.insert(k(), vec![1]).await.unwrap();
    let reading = tokio::spawn(other.get(&k()));
    tokio::time::sleep(SECOND).await;
    cache.clear().await.unwrap();
    let read = reading.await.unwrap().unwrap();
    assert!(read.is_some(), "it began before");
    settle(&other).await;
    assert_eq!(cache.get(&k()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_takes_long_to_clear_is_cleared_in_the_end() {
    let redis = tier();
    let slow = Slow {
        tier: redis.clone(),
        to_answer: Duration::ZERO,
        to_clear: 45 * SECOND,
    };
    let cache = builder().shared(slow, 100 * SECOND).build().unwrap();
    cache.insert("old".to_owned(), vec![1]).await.unwrap();
    cache.clear().await.unwrap();
    tokio::time::sleep(180 * SECOND).await;
    cache.insert(k(), vec![2]).await.unwrap();
    let [other, _] = two(&redis);
    assert!(other.get(&k()).await.unwrap().is_some(), "it takes writes");
    assert_eq!(other.get(&"old".to_owned()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_repair_does_not_undo_a_newer_write() {
    let redis = tier();
    let build = || {
        builder()
            .shared(redis.clone(), 100 * SECOND)
            .build()
            .unwrap()
    };
    let cache = build();
    let keys = [k(), "other".to_owned()];
    redis.set(Chaos::Failing);
    for key in &keys {
        cache.insert(key.clone(), vec![1]).await.unwrap();
    }
    // The repair begins, and hangs at the first of the two keys.
    redis.set(Chaos::Frozen);
    tokio::time::sleep(Duration::from_millis(300)).await;
    redis.set(Chaos::Well);
    for key in &keys {
        cache.insert(key.clone(), vec![2]).await.unwrap();
    }
    settle(&cache).await;
    let other = build();
    for key in &keys {
        assert!(other.get(key).await.unwrap().is_some(), "{key} was undone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clear_that_is_made_good_later_does_not_take_newer_inserts_along() {
    let database = tier();
    let build = || builder().database(database.clone()).build().unwrap();
    let cache = build();
    cache.insert("old".to_owned(), vec![1]).await.unwrap();
    database.set(Chaos::Failing);
    assert!(cache.clear().await.is_err());
    database.set(Chaos::Well);
    while cache.insert(k(), vec![2]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    settle(&cache).await;
    let other = build();
    assert!(other.get(&k()).await.unwrap().is_some(), "acknowledged");
    assert_eq!(other.get(&"old".to_owned()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_overtakes_inserts_of_its_own_key_and_no_others() {
    let cache = builder()
        .local(Local::ttl(1_000, 100 * SECOND))
        .shared(MemoryTier::new(1_000), 100 * SECOND)
        .build()
        .unwrap();
    // So many that some share whatever is shared by several keys.
    let named = |name: &'static str| (0..100).map(move |number| format!("{name}{number}"));
    for key in named("kept") {
        cache.insert(key, vec![1]).await.unwrap();
    }
    let mut writes = tokio::task::JoinSet::new();
    for key in named("gone").chain(named("kept").take(1)) {
        let cache = cache.clone();
        writes.spawn(async move { cache.invalidate(&key).await });
    }
    for key in named("kept") {
        let cache = cache.clone();
        writes.spawn(async move { cache.insert(key, vec![2]).await });
    }
    while let Some(written) = writes.join_next().await {
        written.expect("no panic").expect("the tier is well");
    }
    assert_eq!(cache.get(&"kept0".to_owned()).await.unwrap(), None);
    for key in named("kept").skip(1) {
        let kept = cache.get(&key).await.unwrap();
        assert_eq!(kept.as_deref(), Some(&vec![2]), "{key}");
    }
    assert_eq!(cache.stats().loads.outdated, 1);
}

#[tokio::test]
async fn clearing_a_level_that_is_not_there_changes_nothing() {
    let cache = builder().build().unwrap();
    cache.insert(k(), vec![1]).await.unwrap();
    for level in [Level::Shared, Level::Database] {
        cache.clear_level(level).await.unwrap();
        assert!(cache.get_if_local(&k()).is_some(), "{level:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loader_runs_even_if_somebody_without_one_asked_first() {
    let cache = builder().shared(tier(), 100 * SECOND).build().unwrap();
    let key = k();
    let asked = cache.get(&key);
    let loaded = cache.get_or_load(&key, || async { Ok::<_, BoxError>(vec![7]) });
    let (asked, loaded) = tokio::join!(asked, loaded);
    assert_eq!(*loaded.unwrap(), [7]);
    assert_eq!(*asked.unwrap().expect("one load for both"), [7]);
}
