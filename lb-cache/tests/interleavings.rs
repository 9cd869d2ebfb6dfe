//! Law: no reader sees a value older than an invalidation that completed before its read began.
//!
//! One key, several readers and writers, every await a place where the others
//! may run, and a truth that only grows: readers load it, writers change it and
//! then invalidate or insert.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lb_cache::source::BoxFuture;
use lb_cache::tier::{MemoryTier, Tier, TierError, When};
use lb_cache::{BoxError, Local, TieredCache};
use proptest::prelude::*;

/// Lets others run before and after every call, and fails some.
struct Jumpy {
    inner: MemoryTier,
    failing: u64,
}

async fn pause() {
    for _ in 0..fastrand::u64(..4) {
        tokio::task::yield_now().await;
    }
}

impl Jumpy {
    async fn jump<T>(&self, call: BoxFuture<'_, Result<T, TierError>>) -> Result<T, TierError> {
        pause().await;
        if fastrand::u64(..100) < self.failing {
            return Err(TierError::failed("jumpy"));
        }
        let answer = call.await;
        pause().await;
        if fastrand::u64(..100) < self.failing {
            Err(TierError::TimedOut)
        } else {
            answer
        }
    }
}

impl Tier for Jumpy {
    fn name(&self) -> &'static str {
        "jumpy"
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, TierError>> {
        Box::pin(self.jump(self.inner.get(key)))
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        Box::pin(self.jump(self.inner.put(key, value, ttl, when)))
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        Box::pin(self.jump(self.inner.clear(prefix)))
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Read,
    Invalidate,
    Insert,
    Clear,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Read),
        2 => Just(Step::Invalidate),
        2 => Just(Step::Insert),
        1 => Just(Step::Clear),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..12)
}

#[derive(Default)]
struct World {
    /// The newest value there is.
    truth: AtomicU64,
    /// The newest value whose invalidation has completed.
    floor: AtomicU64,
}

async fn act(
    world: Arc<World>,
    cache: TieredCache<u8, u64>,
    steps: Vec<Step>,
) -> Result<(), String> {
    for step in steps {
        pause().await;
        match step {
            Step::Read => {
                let floor = world.floor.load(Ordering::SeqCst);
                let source = Arc::clone(&world);
                let loaded = cache.get_or_load(&1, move || async move {
                    pause().await;
                    let value = source.truth.load(Ordering::SeqCst);
                    pause().await;
                    Ok::<_, BoxError>(value)
                });
                let value = *loaded.await.map_err(|error| error.to_string())?;
                if value < floor {
                    return Err(format!("read {value} after {floor} was invalidated"));
                }
            }
            Step::Invalidate | Step::Clear => {
                let newest = world.truth.fetch_add(1, Ordering::SeqCst) + 1;
                let done = match step {
                    Step::Clear => cache.clear().await,
                    _ => cache.invalidate(&1).await,
                };
                done.map_err(|error| error.to_string())?;
                world.floor.fetch_max(newest, Ordering::SeqCst);
            }
            Step::Insert => {
                let newest = world.truth.fetch_add(1, Ordering::SeqCst) + 1;
                cache
                    .insert(1, newest)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Step::Forget => cache
                .clear_level(lb_cache::Level::Local)
                .await
                .map_err(|error| error.to_string())?,
        }
    }
    Ok(())
}

fn run(seed: u64, failing: u64, scripts: Vec<Vec<Step>>) -> Result<(), String> {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let world = Arc::new(World::default());
        let jumpy = Jumpy {
            inner: MemoryTier::new(10),
            failing,
        };
        let cache = TieredCache::<u8, u64>::builder("law")
            .local(Local::ttl(10, Duration::from_secs(60)))
            .shared(jumpy, Duration::from_secs(600))
            .virtual_time()
            .build()
            .expect("a valid policy");
        let actors: Vec<_> = scripts
            .into_iter()
            .map(|steps| tokio::spawn(act(Arc::clone(&world), cache.clone(), steps)))
            .collect();
        for actor in actors {
            actor.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_reader_sees_what_was_invalidated_before(seed: u64, scripts in proptest::collection::vec(steps(), 2..5)) {
        prop_assert_eq!(run(seed, 0, scripts), Ok(()));
    }

    #[test]
    fn not_even_when_the_tier_fails_now_and_then(seed: u64, scripts in proptest::collection::vec(steps(), 2..5)) {
        prop_assert_eq!(run(seed, 20, scripts), Ok(()));
    }
}
