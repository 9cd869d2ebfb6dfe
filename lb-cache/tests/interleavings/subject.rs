//! What is put to the test: our cache, or the one that everybody writes first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_cache::{BoxError, CacheError, Level, Local, TieredCache};

use crate::jumpy::{Broken, Jumpy, pause};

/// What the one key stands for; it only grows.
pub(crate) type Truth = Arc<AtomicU64>;
/// What a step brings, or what went wrong, in words.
pub(crate) type Done<T> = Result<T, String>;

#[derive(Clone)]
pub(crate) enum Subject {
    Ours(TieredCache<u8, u64>),
    Naive(Naive),
}

impl Subject {
    /// Our cache on a tier of this kind.
    pub(crate) fn ours(failing: u64, broken: Broken) -> Self {
        let cache = TieredCache::builder("law")
            .local(Local::ttl(10, Duration::from_secs(60)))
            .shared(Jumpy::new(failing, broken), Duration::from_secs(600))
            .virtual_time()
            .build();
        Self::Ours(cache.expect("a valid policy"))
    }

    pub(crate) async fn read(&self, truth: &Truth) -> Done<u64> {
        let cache = match self {
            Self::Ours(cache) => cache,
            Self::Naive(kept) => return Ok(kept.read(truth).await),
        };
        let truth = Arc::clone(truth);
        let load = move || async move { Ok::<_, BoxError>(look(&truth).await) };
        let loaded = cache.get_or_load(&1, load).await;
        in_words(loaded).map(|value| *value)
    }

    pub(crate) async fn invalidate(&self) -> Done<()> {
        match self {
            Self::Ours(cache) => in_words(cache.invalidate(&1).await),
            Self::Naive(kept) => kept.keep(None),
        }
    }

    pub(crate) async fn clear(&self) -> Done<()> {
        match self {
            Self::Ours(cache) => in_words(cache.clear().await),
            Self::Naive(kept) => kept.keep(None),
        }
    }

    pub(crate) async fn forget(&self) -> Done<()> {
        match self {
            Self::Ours(cache) => in_words(cache.clear_level(Level::Local).await),
            Self::Naive(kept) => kept.keep(None),
        }
    }

    pub(crate) async fn insert(&self, value: u64) -> Done<()> {
        match self {
            Self::Ours(cache) => in_words(cache.insert(1, value).await),
            Self::Naive(kept) => kept.keep(Some(value)),
        }
    }
}

fn in_words<T>(outcome: Result<T, CacheError>) -> Done<T> {
    outcome.map_err(|error| error.to_string())
}

/// Looks, loads, keeps: whatever happened during the load.
#[derive(Clone, Default)]
pub(crate) struct Naive(Arc<Mutex<Option<u64>>>);

impl Naive {
    async fn read(&self, truth: &Truth) -> u64 {
        let known = *self.kept();
        match known {
            Some(known) => known,
            None => {
                let loaded = look(truth).await;
                *self.kept() = Some(loaded);
                loaded
            }
        }
    }

    fn keep(&self, value: Option<u64>) -> Done<()> {
        *self.kept() = value;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Option<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load that takes a while before and after it reads.
async fn look(truth: &Truth) -> u64 {
    pause().await;
    let value = truth.load(Ordering::SeqCst);
    pause().await;
    value
}
