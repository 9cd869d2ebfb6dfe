//! Ageing values are renewed by one reader, stale ones stand in for failing loads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_cache::source::Previous;
use lb_cache::tier::{ChaosTier, MemoryTier};
use lb_cache::{BoxError, Builder, CacheError, Loaded, Local, Source, TieredCache};
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

/// Lives 10 s, may be served 20 s longer.
fn builder() -> Builder<u8, u32> {
    TieredCache::builder("test")
        .local(Local::ttl(100, 10 * SECOND))
        .serve_stale(20 * SECOND, 5 * SECOND)
        .jitter(0.0)
        .virtual_time()
}

fn cache() -> TieredCache<u8, u32> {
    builder().build().expect("a valid policy")
}

async fn load(
    cache: &TieredCache<u8, u32>,
    value: Result<u32, &'static str>,
) -> Result<u32, CacheError> {
    cache
        .get_or_load(&1, move || async move { value.map_err(BoxError::from) })
        .await
        .map(|value| *value)
}

/// Lets the flights that were started in the background end.
async fn settle(cache: &TieredCache<u8, u32>) {
    while cache.stats().loads.in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_served_at_once_and_renewed_in_the_background() {
    let cache = cache();
    load(&cache, Ok(1)).await.unwrap();
    advance(10 * SECOND).await;
    assert_eq!(cache.get_if_local(&1), None);
    assert_eq!(load(&cache, Ok(2)).await.unwrap(), 1);
    settle(&cache).await;
    assert_eq!(cache.get_if_local(&1).as_deref(), Some(&2));
    assert_eq!(cache.stats().local.stale_served, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_is_asked_once_per_throttle() {
    let cache = cache();
    load(&cache, Ok(1)).await.unwrap();
    advance(10 * SECOND).await;
    for _ in 0..100 {
        assert_eq!(load(&cache, Err("down")).await.unwrap(), 1);
        settle(&cache).await;
    }
    assert_eq!(cache.stats().loads.failed, 1);
    advance(5 * SECOND).await;
    assert_eq!(load(&cache, Err("down")).await.unwrap(), 1);
    settle(&cache).await;
    assert_eq!(cache.stats().loads.failed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_dies_in_the_end_even_if_the_source_stays_down() {
    let cache = cache();
    load(&cache, Ok(1)).await.unwrap();
    for _ in 0..30 {
        advance(SECOND).await;
        let _stale = load(&cache, Err("down")).await;
        settle(&cache).await;
    }
    assert!(matches!(
        load(&cache, Err("down")).await,
        Err(CacheError::Load(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_a_stale_value_waits_at_most_the_soft_time_out() {
    let cache = builder()
        .load_timeouts(SECOND, 60 * SECOND)
        .build()
        .expect("a valid policy");
    load(&cache, Ok(1)).await.unwrap();
    advance(10 * SECOND).await;
    let slow = cache.get_or_load(&1, || async {
        tokio::time::sleep(3 * SECOND).await;
        Ok::<_, BoxError>(2)
    });
    assert_eq!(*slow.await.unwrap(), 1, "the soft time-out came first");
    assert_eq!(
        load(&cache, Ok(3)).await.unwrap(),
        1,
        "joined the slow load and gave up again"
    );
    settle_slow(&cache).await;
    assert_eq!(
        cache.get_if_local(&1).as_deref(),
        Some(&2),
        "the slow load ended in the background"
    );
}

async fn settle_slow(cache: &TieredCache<u8, u32>) {
    while cache.stats().loads.in_flight > 0 {
        advance(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_time_out_lets_a_quick_load_bring_the_new_value() {
    let cache = builder()
        .load_timeouts(SECOND, 60 * SECOND)
        .build()
        .expect("a valid policy");
    load(&cache, Ok(1)).await.unwrap();
    advance(10 * SECOND).await;
    assert_eq!(load(&cache, Ok(2)).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_value_never_stands_in() {
    let cache = cache();
    load(&cache, Ok(1)).await.unwrap();
    cache.invalidate(&1).await.unwrap();
    assert!(load(&cache, Err("down")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_reader_renews_an_ageing_value_and_nobody_waits() {
    let cache = builder().refresh_at(0.8).build().expect("a valid policy");
    load(&cache, Ok(1)).await.unwrap();
    advance(8 * SECOND).await;
    for _ in 0..50 {
        assert_eq!(load(&cache, Ok(2)).await.unwrap(), 1);
    }
    settle(&cache).await;
    assert_eq!(cache.stats().loads.started, 2);
    assert_eq!(cache.get_if_local(&1).as_deref(), Some(&2));
    advance(8 * SECOND - Duration::from_millis(1)).await;
    assert_eq!(load(&cache, Ok(3)).await.unwrap(), 2, "its life began anew");
    settle(&cache).await;
    assert_eq!(cache.stats().loads.started, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_keeps_a_good_value_and_backs_off() {
    let cache = builder().refresh_at(0.2).build().expect("a valid policy");
    load(&cache, Ok(1)).await.unwrap();
    advance(2 * SECOND).await;
    for _ in 0..50 {
        assert_eq!(load(&cache, Err("down")).await.unwrap(), 1);
        settle(&cache).await;
    }
    assert_eq!(cache.stats().loads.failed, 1);
    assert_eq!(cache.get_if_local(&1).as_deref(), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn without_stale_values_too_a_failing_renewal_backs_off() {
    let cache = TieredCache::builder("test")
        .local(Local::ttl(100, 100 * SECOND))
        .refresh_at(0.5)
        .jitter(0.0)
        .virtual_time()
        .build()
        .expect("a valid policy");
    load(&cache, Ok(1)).await.unwrap();
    advance(50 * SECOND).await;
    for seconds in 1..=10 {
        for _ in 0..50 {
            assert_eq!(load(&cache, Err("down")).await.unwrap(), 1);
            settle(&cache).await;
        }
        assert_eq!(cache.stats().loads.failed, seconds, "once a second");
        advance(SECOND).await;
    }
    assert_eq!(load(&cache, Ok(2)).await.unwrap(), 1);
    settle(&cache).await;
    assert_eq!(cache.get_if_local(&1).as_deref(), Some(&2));
    advance(50 * SECOND).await;
    assert_eq!(load(&cache, Err("down")).await.unwrap(), 2);
    settle(&cache).await;
    advance(50 * SECOND).await;
    assert!(load(&cache, Err("down")).await.is_err(), "it ends in time");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_treated_like_one_that_fails() {
    let tier = ChaosTier::new(MemoryTier::new(10));
    let build = || {
        let shared = builder().shared(tier.clone(), 10 * SECOND);
        shared.build().expect("a valid policy")
    };
    let cache = build();
    load(&cache, Ok(1)).await.unwrap();
    settle(&cache).await;
    advance(11 * SECOND).await;
    let panicking = || async {
        if true {
            panic!("a bug of the source")
        } else {
            Ok::<u32, BoxError>(1)
        }
    };
    // One holds the stale value itself, the other finds it in the shared tier.
    for cache in [cache, build()] {
        for _ in 0..100 {
            assert_eq!(*cache.get_or_load(&1, panicking).await.unwrap(), 1);
            settle(&cache).await;
        }
        let loads = cache.stats().loads;
        assert_eq!((loads.started, loads.panicked), (loads.loaded + 1, 1));
        advance(5 * SECOND).await;
        assert_eq!(*cache.get_or_load(&1, panicking).await.unwrap(), 1);
        settle(&cache).await;
        assert_eq!(cache.stats().loads.panicked, 2);
    }
}

/// Answers `unchanged` to whoever holds the current version.
struct Versioned {
    full_answers: Arc<AtomicU32>,
}

impl Source<u8, u32> for Versioned {
    fn load(
        &self,
        _key: u8,
        previous: Option<Previous<u32>>,
    ) -> lb_cache::source::BoxFuture<'static, Result<Loaded<u32>, BoxError>> {
        let known = previous.and_then(|previous| previous.etag);
        let answer = if known.as_deref() == Some("v1") {
            Loaded::unchanged()
        } else {
            self.full_answers.fetch_add(1, Ordering::SeqCst);
            Loaded::value(7).etag("v1")
        };
        Box::pin(async move { Ok(answer) })
    }
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_value_lives_on_without_being_sent_again() {
    let full_answers = Arc::<AtomicU32>::default();
    let cache = builder()
        .source(Versioned {
            full_answers: Arc::clone(&full_answers),
        })
        .build()
        .expect("a valid policy");
    for _ in 0..3 {
        assert_eq!(cache.get(&1).await.unwrap().as_deref(), Some(&7));
        settle(&cache).await;
        assert_eq!(cache.get_if_local(&1).as_deref(), Some(&7));
        advance(12 * SECOND).await;
    }
    assert_eq!(full_answers.load(Ordering::SeqCst), 1);
}
