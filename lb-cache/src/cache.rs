//! The cache as its users hold it.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::builder::Builder;
use crate::error::{BoxError, CacheError};
use crate::freshness::Age;
use crate::inner::{Inner, Seen};
use crate::level::Role;
use crate::lookup::Lookup;
use crate::policy::Policy;
use crate::source::{Loaded, Previous};
use crate::stats::Stats;

/// One level of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The tier in this process.
    Local,
    /// The tier that all instances share.
    Shared,
    /// The tier that outlives restarts.
    Database,
}

/// What this process holds under a key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// `false` for the knowledge that there is no such value.
    pub has_value: bool,
    /// Its age.
    pub age: Age,
    /// Until it is stale; `None` without end.
    pub fresh_for: Option<Duration>,
    /// Until it is dead; `None` without end.
    pub usable_for: Option<Duration>,
    /// What the source calls this version.
    pub etag: Option<String>,
}

/// A cache of one namespace: local memory first, then the lower tiers, then a load.
///
/// Cheap to clone; clones are the same cache. Lookups that go beyond the local
/// tier need a tokio runtime.
///
/// # Consistency
///
/// Within one process no reader sees a value older than an insert or an
/// invalidation that completed before its read began, not even when a slow load
/// ends later.
pub struct TieredCache<K, V> {
    pub(crate) inner: Arc<Inner<K, V>>,
}

impl<K, V> TieredCache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Starts a cache. `namespace` separates it from others in the same tiers:
    /// 1 to 64 of `a-z A-Z 0-9 _ - .`
    pub fn builder(namespace: impl Into<String>) -> Builder<K, V> {
        Builder::new(namespace.into())
    }

    /// The value, if the local tier holds it fresh. Allocates nothing, waits for
    /// nothing, reads no clock while the cache is busy.
    #[inline]
    #[must_use]
    pub fn get_if_local(&self, key: &K) -> Option<Arc<V>> {
        match self.inner.local(key) {
            Seen::Fresh(value) | Seen::Ageing(value) => Some(value),
            Seen::Stale(_) | Seen::Absent | Seen::Nothing => None,
        }
    }

    /// The value from the nearest tier that has it, or from the source of the
    /// builder; `None` if there is no such value.
    #[inline]
    pub fn get(&self, key: &K) -> Lookup<Option<Arc<V>>> {
        match self.inner.local(key) {
            Seen::Fresh(value) => Lookup::ready(Some(value)),
            seen => {
                let load = self.inner.load_from_source(key);
                self.inner.beyond(key, seen, load, Ok)
            }
        }
    }

    /// The value from the nearest tier that has it, or from `loader`.
    ///
    /// However many callers ask for one key, one loader runs, in a task of its
    /// own: a caller that is dropped harms nobody. A loader may bring a plain
    /// value, or a [`Loaded`] that says more.
    #[inline]
    pub fn get_or_load<F, L, T, E>(&self, key: &K, loader: F) -> Lookup<Arc<V>>
    where
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Loaded<V>>,
        E: Into<BoxError>,
    {
        match self.inner.local(key) {
            Seen::Fresh(value) => Lookup::ready(value),
            seen => self.inner.beyond(key, seen, Some(boxed(loader)), |value| {
                value.ok_or(CacheError::Absent)
            }),
        }
    }

    /// [`Self::get`] for many keys; the answers are in their order. The first
    /// tier below is asked for up to 64 keys in one question.
    pub async fn get_many(&self, keys: &[K]) -> Vec<Result<Option<Arc<V>>, CacheError>> {
        self.inner.many(keys).await
    }

    /// Brings keys into the local tier ahead of their use; says how many have a value.
    pub async fn warm(&self, keys: &[K]) -> usize {
        let outcomes = self.inner.many(keys).await;
        outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Ok(Some(_))))
            .count()
    }

    /// Stores a value in every tier that the policy writes to.
    ///
    /// # Errors
    ///
    /// [`CacheError::Write`] if the database tier failed: then nothing was cached.
    pub async fn insert(&self, key: K, value: impl Into<Arc<V>>) -> Result<(), CacheError> {
        self.inner.insert(key, value.into()).await
    }

    /// Removes a key from every tier. When this returns, no reader that starts
    /// later sees the old value, even if a load is under way.
    ///
    /// # Errors
    ///
    /// [`CacheError::Write`] if the database tier failed.
    pub async fn invalidate(&self, key: &K) -> Result<(), CacheError> {
        self.inner.invalidate(key.clone()).await
    }

    /// Removes every key from every tier.
    ///
    /// # Errors
    ///
    /// [`CacheError::Write`] if the database tier failed.
    pub async fn clear(&self) -> Result<(), CacheError> {
        self.inner.clear().await
    }

    /// Clears one level, and leaves the others as they are. A level that this cache
    /// does not have is clear already.
    ///
    /// # Errors
    ///
    /// [`CacheError::Write`] if the tier failed; it is then distrusted until it is cleared.
    pub async fn clear_level(&self, level: Level) -> Result<(), CacheError> {
        let role = match level {
            Level::Local => None,
            Level::Shared => Some(Role::Shared),
            Level::Database => Some(Role::Database),
        };
        self.inner.clear_role(role).await
    }

    /// What this process holds under a key, without the value; `None` if nothing.
    #[must_use]
    pub fn inspect(&self, key: &K) -> Option<Inspection> {
        self.inner.inspect(key)
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.inner.name
    }

    /// Hands the statistics over to the `metrics` facade; see [`crate::observe`].
    pub fn publish_metrics(&self) {
        crate::observe::publish(&self.inner.stats());
    }

    /// The effective policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// What the cache has seen since it was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

/// A loader whose types are gone.
pub(crate) type LoadFn<V> = Box<
    dyn FnOnce(
            Option<Previous<V>>,
        ) -> crate::source::BoxFuture<'static, Result<Loaded<V>, BoxError>>
        + Send,
>;

fn boxed<V, F, L, T, E>(loader: F) -> LoadFn<V>
where
    F: FnOnce() -> L + Send + 'static,
    L: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<Loaded<V>>,
    E: Into<BoxError>,
{
    Box::new(move |_previous| {
        let loading = loader();
        Box::pin(async move { loading.await.map(Into::into).map_err(Into::into) })
    })
}

impl<K, V> Clone for TieredCache<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K, V> std::fmt::Debug for TieredCache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TieredCache")
            .field("namespace", &self.inner.name)
            .finish_non_exhaustive()
    }
}
