//! A local hit allocates nothing, awaited or not.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use lb_cache::{BoxError, Local, TieredCache};

/// Polls a future once.
fn poll_now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn engines() -> Vec<Local> {
    vec![
        #[cfg(feature = "local")]
        Local::lru(100),
        #[cfg(feature = "fast")]
        Local::lru(100).fast(),
    ]
}

#[tokio::test]
async fn a_hit_allocates_nothing() {
    for local in engines() {
        let cache = TieredCache::<String, [u8; 1_024]>::builder("test")
            .local(local)
            .build()
            .unwrap();
        let key = "a key of some length, as users have".to_owned();
        cache.insert(key.clone(), [7; 1_024]).await.unwrap();
        let look = || {
            let hit = cache.get_if_local(&key).is_some();
            let got = poll_now(cache.get(&key))
                .is_some_and(|value| value.is_ok_and(|value| value.is_some()));
            let loader = || async { Err::<[u8; 1_024], BoxError>("not needed".into()) };
            let loaded =
                poll_now(cache.get_or_load(&key, loader)).is_some_and(|value| value.is_ok());
            hit && got && loaded
        };
        // The engine grows its books at first, and settles them now and then.
        for _ in 0..1_000 {
            assert!(look());
        }
        let quietest = (0..20)
            .map(|_| allocation_counter::measure(|| assert!(look())).count_total)
            .min();
        assert_eq!(quietest, Some(0));
    }
}

#[tokio::test]
async fn a_miss_does_allocate_or_the_counter_is_blind() {
    let cache = TieredCache::<u64, u64>::builder("test")
        .local(Local::none())
        .build()
        .unwrap();
    let seen = allocation_counter::measure(|| {
        drop(cache.get_or_load(&1, || async { Ok::<_, BoxError>(1) }));
    });
    assert!(seen.count_total > 0);
}
