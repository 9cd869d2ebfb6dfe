//! The local tier holds what the policy allows, and no more.
#![cfg(feature = "local")]

use std::time::Duration;

use lb_cache::local::Eviction;
use lb_cache::{BoxError, ConfigError, Local, Policy, TieredCache};

fn lru(entries: u64) -> TieredCache<u64, Vec<u8>> {
    TieredCache::builder("test")
        .local(Local::lru(entries))
        .build()
        .expect("a valid policy")
}

#[tokio::test]
async fn the_least_recently_used_entry_goes_first() {
    let cache = lru(500);
    for key in 0..500 {
        cache.insert(key, vec![1]).await.unwrap();
    }
    let _settled = cache.stats(); // Lets the engine settle its books.
    assert!(
        cache.get_if_local(&0).is_some(),
        "0 is now the most recently used"
    );
    let _settled = cache.stats();
    cache.insert(500, vec![1]).await.unwrap();
    assert_eq!(cache.stats().local.entries, 500);
    assert!(cache.get_if_local(&0).is_some());
    assert!(cache.get_if_local(&500).is_some());
    assert!(
        cache.get_if_local(&1).is_none(),
        "1 was the least recently used"
    );
}

#[tokio::test]
async fn a_bound_by_weight_holds_after_a_burst() {
    let cache = TieredCache::<u64, Vec<u8>>::builder("test")
        .local(Local::weight(100_000))
        .weigher(|_, value| u32::try_from(value.len()).unwrap_or(u32::MAX))
        .build()
        .expect("a valid policy");
    for key in 0..1_000 {
        cache.insert(key, vec![0; 1_000]).await.unwrap();
    }
    let local = cache.stats().local;
    assert!(local.weight <= 100_000, "{local:?}");
    assert!(local.entries > 50, "{local:?}");
}

#[tokio::test]
async fn a_value_that_was_replaced_by_a_lighter_one_and_removed_leaves_no_weight_behind() {
    let cache = TieredCache::<u64, u32>::builder("test")
        .local(Local::weight(1_000))
        .weigher(|_, value| *value)
        .build()
        .expect("a valid policy");
    for _ in 0..100 {
        cache.insert(0, 50u32).await.unwrap();
        assert_eq!(cache.stats().local.weight, 50);
        cache.insert(0, 40u32).await.unwrap();
        cache.invalidate(&0).await.unwrap();
        assert_eq!(cache.stats().local.weight, 0);
    }
}

#[tokio::test]
async fn a_flood_of_random_keys_stays_bounded() {
    let cache = TieredCache::<u64, u64>::builder("test")
        .local(Local::lru(100))
        .negative(Duration::from_secs(60), 100)
        .source(|key: u64| async move {
            Ok::<_, BoxError>(if key.is_multiple_of(2) {
                lb_cache::Loaded::value(key)
            } else {
                lb_cache::Loaded::absent()
            })
        })
        .build()
        .expect("a valid policy");
    for key in 0..5_000u64 {
        cache
            .get(&key.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .await
            .unwrap();
    }
    let local = cache.stats().local;
    assert!(
        local.entries <= 100 && local.negative_entries <= 100,
        "{local:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn dead_entries_leave_with_later_writes() {
    let cache = TieredCache::<u64, u64>::builder("test")
        .local(Local::ttl(1_000, Duration::from_secs(1)))
        .virtual_time()
        .build()
        .expect("a valid policy");
    for key in 0..100 {
        cache.insert(key, key).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(31)).await;
    cache.insert(1_000, 1).await.unwrap();
    assert_eq!(cache.stats().local.entries, 1);
}

#[test]
fn a_bound_by_weight_needs_a_weigher() {
    let built = TieredCache::<u64, u64>::builder("test")
        .local(Local::weight(10))
        .build();
    assert!(matches!(built, Err(ConfigError::NoWeigher)));
}

#[tokio::test]
async fn the_presets_hold_what_they_promise() {
    let minute = Duration::from_secs(60);
    for (policy, capacity, local, shared) in [
        (Policy::results(), 1_000, Some(5 * minute), 60 * minute),
        (Policy::large_results(), 500, None, 60 * minute),
        (Policy::progress(), 2_000, Some(minute), minute),
    ] {
        assert_eq!(policy.shared_ttl, shared);
        let cache = TieredCache::<u64, u64>::builder("test")
            .policy(policy)
            .build()
            .expect("a valid policy");
        for key in 0..2 * capacity {
            cache.insert(key, key).await.unwrap();
        }
        assert_eq!(cache.stats().local.entries, capacity);
        let newest = cache
            .inspect(&(2 * capacity - 1))
            .expect("the newest stays");
        let fresh_for = newest.fresh_for;
        // Less what jitter cuts off and what this loop took.
        let about = |life: Duration| (life.mul_f64(0.9)..=life).contains(&fresh_for.unwrap());
        assert!(local.map_or(fresh_for.is_none(), about), "{fresh_for:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn entries_made_together_do_not_end_together() {
    let cache = TieredCache::<u64, u64>::builder("test")
        .local(Local::ttl(1_000, Duration::from_secs(100)))
        .jitter(0.2)
        .virtual_time()
        .build()
        .expect("a valid policy");
    for key in 0..1_000 {
        cache.insert(key, key).await.unwrap();
    }
    let mut ended = Vec::new();
    for seconds in [79, 11, 10] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        ended.push(
            (0..1_000)
                .filter(|key| cache.get_if_local(key).is_none())
                .count(),
        );
    }
    assert!(
        ended[0] == 0 && (300..800).contains(&ended[1]) && ended[2] == 1_000,
        "{ended:?}"
    );
}

#[tokio::test]
async fn tiny_lfu_keeps_what_is_used_often_through_a_scan() {
    let cache = TieredCache::<u64, u64>::builder("test")
        .local(Local::lru(100).eviction(Eviction::TinyLfu))
        .build()
        .expect("a valid policy");
    for _ in 0..20 {
        for key in 0..50 {
            if cache.get_if_local(&key).is_none() {
                cache.insert(key, key).await.unwrap();
            }
        }
    }
    let _settled = cache.stats();
    for key in 1_000..3_000 {
        cache.insert(key, key).await.unwrap();
    }
    let _settled = cache.stats();
    let kept = (0..50)
        .filter(|key| cache.get_if_local(key).is_some())
        .count();
    assert!(kept >= 45, "{kept} of 50");
}
