//! The read and write paths through all tiers, and what happens when a tier misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_cache::tier::{Chaos, ChaosTier, MemoryTier};
use lb_cache::{BoxError, Builder, CacheError, Level, Loaded, Local, TieredCache};

const SECOND: Duration = Duration::from_secs(1);
type Cache = TieredCache<String, u32>;

fn tier() -> ChaosTier<MemoryTier> {
    ChaosTier::new(MemoryTier::new(10_000))
}

fn builder() -> Builder<String, u32> {
    Cache::builder("test")
        .local(Local::ttl(100, 60 * SECOND))
        .jitter(0.0)
        .virtual_time()
}

fn shared(tier: &ChaosTier<MemoryTier>) -> Cache {
    builder()
        .shared(tier.clone(), 600 * SECOND)
        .build()
        .expect("a valid policy")
}

async fn load(cache: &Cache, key: &str, value: u32) -> u32 {
    let value = cache
        .get_or_load(
            &key.to_owned(),
            move || async move { Ok::<_, BoxError>(value) },
        )
        .await;
    *value.expect("loads")
}

/// Tokio's clock, which these tests pause.
fn now() -> tokio::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "the one place in these tests")]
    tokio::time::Instant::now()
}

/// Waits until a condition holds; virtual time passes meanwhile.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(start_paused = true)]
async fn what_one_instance_loaded_another_finds() {
    let redis = tier();
    let (a, b) = (shared(&redis), shared(&redis));
    assert_eq!(load(&a, "k", 1).await, 1);
    until("the fill", || {
        a.stats().shared.is_some_and(|s| s.writes == 1)
    })
    .await;
    assert_eq!(load(&b, "k", 2).await, 1);
    assert_eq!(b.get_if_local(&"k".to_owned()).as_deref(), Some(&1));
    assert_eq!(
        (b.stats().loads.started, b.stats().shared.unwrap().hits),
        (0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_value_does_not_live_longer_here_than_in_the_tier_it_came_from() {
    let redis = tier();
    let writer = builder()
        .shared(redis.clone(), 70 * SECOND)
        .build()
        .unwrap();
    let reader = shared(&redis);
    writer.insert("k".to_owned(), 1).await.unwrap();
    tokio::time::advance(40 * SECOND).await;
    assert_eq!(load(&reader, "k", 2).await, 1);
    tokio::time::advance(30 * SECOND).await;
    assert_eq!(
        reader.get_if_local(&"k".to_owned()),
        None,
        "30 of its 60 local seconds are left, but 0 of 70 shared"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hit_in_the_database_fills_the_tiers_above() {
    let (redis, database) = (tier(), tier());
    let build = || {
        builder()
            .shared(redis.clone(), 600 * SECOND)
            .database(database.clone())
            .build()
            .unwrap()
    };
    build().insert("k".to_owned(), 1).await.unwrap();
    build().clear_level(Level::Shared).await.unwrap();
    let cache = build();
    assert_eq!(load(&cache, "k", 2).await, 1);
    let stats = cache.stats();
    assert_eq!(
        (stats.database.unwrap().hits, stats.shared.unwrap().misses),
        (1, 1)
    );
    until("the fill", || {
        cache.stats().shared.is_some_and(|s| s.writes == 1)
    })
    .await;
    let other = build();
    assert_eq!(load(&other, "k", 3).await, 1);
    assert_eq!(other.stats().database.unwrap().hits, 0);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_reaches_every_tier_and_beats_the_slow_load_of_another_instance() {
    let (redis, database) = (tier(), tier());
    let build = || {
        builder()
            .shared(redis.clone(), 600 * SECOND)
            .database(database.clone())
            .build()
            .unwrap()
    };
    let (a, b) = (build(), build());
    let slow = tokio::spawn(a.get_or_load(&"k".to_owned(), || async {
        tokio::time::sleep(5 * SECOND).await;
        Ok::<_, BoxError>(1)
    }));
    tokio::time::sleep(SECOND).await;
    b.invalidate(&"k".to_owned()).await.unwrap();
    assert_eq!(*slow.await.unwrap().unwrap(), 1);
    until("the refusals", || {
        a.stats().database.is_some_and(|s| s.refused_writes == 1)
    })
    .await;
    assert_eq!(a.stats().shared.unwrap().refused_writes, 1);
    assert_eq!(load(&b, "k", 2).await, 2, "the old value was resurrected");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_tier_costs_its_deadline_until_the_breaker_opens_and_nothing_after() {
    let redis = tier();
    let cache = shared(&redis);
    redis.set(Chaos::Frozen);
    for n in 0..5 {
        assert_eq!(load(&cache, &format!("k{n}"), n).await, n);
    }
    until("the breaker", || {
        cache.stats().shared.is_some_and(|s| s.breaker == "open")
    })
    .await;
    let begin = now();
    for n in 10..100 {
        assert_eq!(load(&cache, &format!("k{n}"), n).await, n);
    }
    let took = now() - begin;
    assert!(took < Duration::from_millis(5), "{took:?}");
    redis.set(Chaos::Well);
    tokio::time::sleep(3 * SECOND).await;
    load(&cache, "probe", 1).await;
    until("recovery", || {
        cache.stats().shared.is_some_and(|s| s.breaker == "closed")
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_while_the_tier_is_away_is_made_good_when_it_is_back() {
    for chaos in [Chaos::Failing, Chaos::Frozen, Chaos::Deaf] {
        let redis = tier();
        let cache = shared(&redis);
        cache.insert("k".to_owned(), 1).await.unwrap();
        redis.set(chaos);
        cache.invalidate(&"k".to_owned()).await.unwrap();
        redis.set(Chaos::Well);
        assert_eq!(
            load(&cache, "k", 2).await,
            2,
            "{chaos:?}: the tier is not trusted with this key"
        );
        until("the repair", || {
            cache.stats().shared.is_some_and(|s| s.distrusted_keys == 0)
        })
        .await;
        assert_eq!(
            load(&shared(&redis), "k", 3).await,
            3,
            "{chaos:?}: repaired for others too"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_end_is_unknown_is_not_believed() {
    let redis = tier();
    let cache = shared(&redis);
    cache.insert("k".to_owned(), 1).await.unwrap();
    redis.set(Chaos::Failing);
    cache.insert("k".to_owned(), 2).await.unwrap();
    redis.set(Chaos::Well);
    cache.clear_level(Level::Local).await.unwrap();
    assert_eq!(load(&cache, "k", 3).await, 3, "the tier still holds 1");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_refuses_a_write_is_reported_and_nothing_is_cached() {
    let (redis, database) = (tier(), tier());
    let cache = builder()
        .shared(redis.clone(), 600 * SECOND)
        .database(database.clone())
        .build()
        .unwrap();
    cache.insert("k".to_owned(), 1).await.unwrap();
    database.set(Chaos::Failing);
    assert!(matches!(
        cache.insert("k".to_owned(), 2).await,
        Err(CacheError::Write { tier: "memory", .. })
    ));
    assert_eq!(cache.get_if_local(&"k".to_owned()), None);
    assert_eq!(load(&cache, "k", 3).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_of_a_lower_tier_stands_in_for_a_failing_source() {
    let redis = tier();
    let build = || {
        builder()
            .shared(redis.clone(), 100 * SECOND)
            .serve_stale(100 * SECOND, 5 * SECOND)
            .build()
            .unwrap()
    };
    build().insert("k".to_owned(), 1).await.unwrap();
    tokio::time::advance(150 * SECOND).await;
    let cache = build();
    let down = || async { Err::<u32, BoxError>("down".into()) };
    for _ in 0..10 {
        assert_eq!(*cache.get_or_load(&"k".to_owned(), down).await.unwrap(), 1);
    }
    assert_eq!(cache.stats().loads.failed, 1, "asked once per throttle");
    tokio::time::advance(51 * SECOND).await;
    assert!(
        cache.get_or_load(&"k".to_owned(), down).await.is_err(),
        "dead in the end"
    );
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_value_is_shared_too() {
    let redis = tier();
    let asked = Arc::new(AtomicU32::new(0));
    let build = || {
        let asked = Arc::clone(&asked);
        let source = move |_key: String| {
            asked.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, BoxError>(Loaded::absent()) }
        };
        builder()
            .shared(redis.clone(), 100 * SECOND)
            .source(source)
            .build()
            .unwrap()
    };
    let first = build();
    assert_eq!(first.get(&"k".to_owned()).await.unwrap(), None);
    until("the fill", || {
        first.stats().shared.is_some_and(|s| s.writes == 1)
    })
    .await;
    assert_eq!(build().get(&"k".to_owned()).await.unwrap(), None);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn many_keys_come_in_their_order_and_load_once() {
    let redis = tier();
    let build = || {
        let source = |key: String| async move {
            Ok::<_, BoxError>(
                key.parse::<u32>()
                    .map_or_else(|_| Loaded::absent(), Loaded::value),
            )
        };
        builder()
            .shared(redis.clone(), 100 * SECOND)
            .source(source)
            .build()
            .unwrap()
    };
    let keys: Vec<String> = (0..200)
        .map(|n| {
            if n == 7 {
                "none".to_owned()
            } else {
                n.to_string()
            }
        })
        .collect();
    let first = build();
    let expected: Vec<Option<u32>> = keys.iter().map(|key| key.parse().ok()).collect();
    for cache in [first.clone(), first.clone(), build()] {
        let values = cache.get_many(&keys).await;
        let values: Vec<Option<u32>> = values
            .into_iter()
            .map(|value| value.unwrap().as_deref().copied())
            .collect();
        assert_eq!(values, expected);
        until("the fills", || {
            first.stats().shared.is_some_and(|s| s.writes == 200)
        })
        .await;
    }
    assert_eq!(first.stats().loads.started, 200);
    assert_eq!(build().warm(&keys).await, 199);
}

#[tokio::test(start_paused = true)]
async fn a_clear_while_the_tier_is_away_holds_in_this_process_and_is_made_good() {
    let redis = tier();
    let cache = shared(&redis);
    cache.insert("k".to_owned(), 1).await.unwrap();
    redis.set(Chaos::Failing);
    cache.clear().await.unwrap();
    redis.set(Chaos::Well);
    assert_eq!(load(&cache, "k", 2).await, 2);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(
        load(&shared(&redis), "k", 3).await,
        3,
        "the old value survived the clear"
    );
}
