//! One load per key, whatever happens to the callers, the loader or the key meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use lb_cache::{BoxError, CacheError, Loaded, Local, TieredCache};
use tokio::sync::Notify;

const MINUTE: Duration = Duration::from_secs(60);

fn cache() -> TieredCache<&'static str, u32> {
    TieredCache::builder("test")
        .local(Local::ttl(100, MINUTE))
        .jitter(0.0)
        .virtual_time()
        .build()
        .expect("a valid policy")
}

/// Loads a number when it is told to.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<Notify>,
    loads: Arc<AtomicU32>,
}

impl Gate {
    fn loads(&self) -> u32 {
        self.loads.load(Ordering::SeqCst)
    }

    async fn load(self, value: u32) -> Result<u32, BoxError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.open.notified().await;
        Ok(value)
    }
}

async fn load_now(cache: &TieredCache<&'static str, u32>, value: u32) -> u32 {
    *cache
        .get_or_load(&"k", move || async move { Ok::<_, BoxError>(value) })
        .await
        .expect("loads")
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_misses_load_once() {
    let (cache, gate) = (cache(), Gate::default());
    let callers: Vec<_> = (0..1_000)
        .map(|n| {
            let gate = gate.clone();
            tokio::spawn(cache.get_or_load(&"k", move || gate.load(n)))
        })
        .collect();
    tokio::task::yield_now().await;
    gate.open.notify_one();
    let mut values = Vec::new();
    for caller in callers {
        values.push(*caller.await.unwrap().unwrap());
    }
    assert_eq!(gate.loads(), 1);
    assert!(values.iter().all(|value| *value == values[0]));
    assert_eq!(cache.stats().loads.joined, 999);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_harms_nobody() {
    let (cache, gate) = (cache(), Gate::default());
    let first = {
        let gate = gate.clone();
        cache.get_or_load(&"k", move || gate.load(7))
    };
    let second = cache.get_or_load(&"k", || async { Ok::<_, BoxError>(8) });
    drop(first);
    gate.open.notify_one();
    assert_eq!(*second.await.unwrap(), 7);
    assert_eq!(cache.get_if_local(&"k").as_deref(), Some(&7));
}

#[tokio::test(start_paused = true)]
async fn a_load_ends_even_if_every_caller_is_gone() {
    let (cache, gate) = (cache(), Gate::default());
    let only = {
        let gate = gate.clone();
        cache.get_or_load(&"k", move || gate.load(7))
    };
    drop(only);
    gate.open.notify_one();
    assert_eq!(load_now(&cache, 8).await, 7);
}

#[tokio::test(start_paused = true)]
async fn a_panic_releases_all_waiters_and_the_next_caller_loads_again() {
    let cache = cache();
    let explode = || async {
        if true {
            panic!("boom")
        } else {
            Ok::<u32, BoxError>(1)
        }
    };
    let (first, second) = (
        cache.get_or_load(&"k", explode),
        cache.get_or_load(&"k", explode),
    );
    assert!(matches!(first.await, Err(CacheError::Panicked)));
    assert!(matches!(second.await, Err(CacheError::Panicked)));
    assert_eq!(cache.stats().loads.panicked, 1);
    assert_eq!(load_now(&cache, 3).await, 3);
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_every_waiter_and_is_not_kept() {
    let cache = cache();
    let fail = || async { Err::<u32, BoxError>("no database".into()) };
    let (first, second) = (cache.get_or_load(&"k", fail), cache.get_or_load(&"k", fail));
    let (first, second) = (first.await.unwrap_err(), second.await.unwrap_err());
    assert!(matches!(
        (&first, &second),
        (CacheError::Load(_), CacheError::Load(_))
    ));
    assert_eq!(
        std::error::Error::source(&first).unwrap().to_string(),
        "no database"
    );
    assert_eq!(cache.stats().loads.failed, 1);
    assert_eq!(load_now(&cache, 3).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_load_longer_than_the_hard_time_out_is_given_up() {
    let cache = TieredCache::<&str, u32>::builder("test")
        .local(Local::lru(10))
        .load_timeouts(Duration::ZERO, Duration::from_secs(2))
        .build()
        .expect("a valid policy");
    let never = cache
        .get_or_load(&"k", std::future::pending::<Result<u32, BoxError>>)
        .await;
    assert!(
        matches!(never, Err(CacheError::TimedOut { after }) if after == Duration::from_secs(2))
    );
    assert_eq!(cache.stats().loads.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_during_a_load_wins() {
    let (cache, gate) = (cache(), Gate::default());
    let slow = {
        let gate = gate.clone();
        tokio::spawn(cache.get_or_load(&"k", move || gate.load(1)))
    };
    tokio::task::yield_now().await;
    cache.invalidate(&"k").await.unwrap();
    assert_eq!(
        load_now(&cache, 2).await,
        2,
        "a reader after the invalidation does not join the old load"
    );
    gate.open.notify_one();
    assert_eq!(
        *slow.await.unwrap().unwrap(),
        1,
        "who asked before still gets an answer"
    );
    assert_eq!(cache.get_if_local(&"k").as_deref(), Some(&2));
    assert_eq!(cache.stats().loads.outdated, 1);
}

#[tokio::test(start_paused = true)]
async fn an_insert_or_a_clear_during_a_load_wins() {
    let (cache, gate) = (cache(), Gate::default());
    let slow = {
        let gate = gate.clone();
        tokio::spawn(cache.get_or_load(&"k", move || gate.load(1)))
    };
    tokio::task::yield_now().await;
    cache.insert("k", 2).await.unwrap();
    gate.open.notify_one();
    slow.await.unwrap().unwrap();
    assert_eq!(cache.get_if_local(&"k").as_deref(), Some(&2));

    let slow = {
        let gate = gate.clone();
        tokio::spawn(cache.get_or_load(&"other", move || gate.load(1)))
    };
    tokio::task::yield_now().await;
    cache.clear().await.unwrap();
    gate.open.notify_one();
    slow.await.unwrap().unwrap();
    assert_eq!(
        (cache.get_if_local(&"k"), cache.get_if_local(&"other")),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_asks_for_its_own_key_gets_an_error_instead_of_waiting_for_itself() {
    let cache = cache();
    let again = cache.clone();
    let outer = cache.get_or_load(&"k", move || async move {
        let inner = again
            .get_or_load(&"k", || async { Ok::<_, BoxError>(1) })
            .await;
        assert!(matches!(inner, Err(CacheError::Reentrant)));
        again
            .get_or_load(&"other", || async { Ok::<_, BoxError>(2) })
            .await
            .map(|two| *two)
    });
    assert_eq!(*outer.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_loads_run_at_once_than_allowed() {
    let cache = TieredCache::<u32, u32>::builder("test")
        .local(Local::lru(10))
        .concurrent_loads(2)
        .load_timeouts(Duration::ZERO, Duration::from_secs(1))
        .build()
        .expect("a valid policy");
    let loads: Vec<_> = (0..3)
        .map(|key| cache.get_or_load(&key, std::future::pending::<Result<u32, BoxError>>))
        .collect();
    let mut overloaded = 0;
    for load in loads {
        match load.await {
            Err(CacheError::Overloaded { limit: 2 }) => overloaded += 1,
            Err(CacheError::TimedOut { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    // The third may get a permit at the very moment the first two give up.
    assert!(overloaded <= 1 && cache.stats().loads.started >= 2);
}

#[tokio::test(start_paused = true)]
async fn an_entry_ends_with_its_time_to_live() {
    let cache = cache();
    assert_eq!(load_now(&cache, 1).await, 1);
    tokio::time::advance(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(cache.get_if_local(&"k").as_deref(), Some(&1));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(cache.get_if_local(&"k"), None);
    assert_eq!(load_now(&cache, 2).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_entry_ends_in_time_while_nobody_drives_the_runtime() {
    let cache = TieredCache::<u32, u32>::builder("test")
        .local(Local::ttl(10, MINUTE))
        .build()
        .expect("a valid policy");
    cache.insert(1, 1).await.unwrap();
    for _ in 0..1_000 {
        let _busy = cache.get_if_local(&1);
    }
    // What that has begun may run for a while.
    for _ in 0..5 {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(cache.get_if_local(&1).is_some());
    // From now on time passes, and nobody else is polled.
    let mut later = std::pin::pin!(tokio::time::advance(MINUTE));
    std::future::poll_fn(|cx| Poll::Ready(later.as_mut().poll(cx).is_ready())).await;
    assert_eq!(cache.get_if_local(&1), None);
}

#[tokio::test(start_paused = true)]
async fn a_loader_may_shorten_a_life() {
    let cache = cache();
    let brief = || async { Ok::<_, BoxError>(Loaded::value(1).ttl(Duration::from_secs(1))) };
    cache.get_or_load(&"k", brief).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(cache.get_if_local(&"k"), None);
}

#[tokio::test(start_paused = true)]
async fn an_absent_value_is_remembered_in_a_space_of_its_own() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let cache = TieredCache::<u32, u32>::builder("test")
        .local(Local::lru(2))
        .negative(Duration::from_secs(5), 10)
        .jitter(0.0)
        .virtual_time()
        .source(move |key: u32| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                Ok::<_, BoxError>(if key < 2 {
                    Loaded::value(key)
                } else {
                    Loaded::absent()
                })
            }
        })
        .build()
        .expect("a valid policy");
    for key in 0..10 {
        cache.get(&key).await.unwrap();
    }
    for key in 0..10 {
        assert_eq!(
            cache.get(&key).await.unwrap().as_deref().copied(),
            (key < 2).then_some(key)
        );
    }
    assert_eq!(
        asked.load(Ordering::SeqCst),
        10,
        "absent keys evicted no value and were not asked for again"
    );
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(cache.get(&9).await.unwrap(), None);
    assert_eq!(asked.load(Ordering::SeqCst), 11);
    cache.insert(9, 9).await.unwrap();
    assert_eq!(cache.get(&9).await.unwrap().as_deref(), Some(&9));
}
