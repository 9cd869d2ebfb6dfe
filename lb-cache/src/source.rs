//! Where values come from when no tier has them.
//!
//! A [`Source`] is the database, the service or the computation behind the
//! cache. Closures are sources. What a source brings is a [`Loaded`]: a value,
//! or the answer that there is none, or "what you have is still good"; and how
//! long it may live if the source knows better than the policy.
//!
//! ```
//! use std::time::Duration;
//! use lb_cache::{Local, Loaded, TieredCache};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let squares = TieredCache::<u64, u64>::builder("squares")
//!     .local(Local::lru(100))
//!     .source(|key: u64| async move {
//!         let value = key.checked_mul(key);
//!         Ok::<_, std::io::Error>(match value {
//!             Some(value) => Loaded::value(value).ttl(Duration::from_secs(60)),
//!             None => Loaded::absent(),
//!         })
//!     })
//!     .build()?;
//! assert_eq!(squares.get(&7).await?.as_deref(), Some(&49));
//! assert_eq!(squares.get(&u64::MAX).await?, None);
//! # Ok(()) }
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::error::BoxError;

/// A boxed future, as the object-safe traits beyond the local tier return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Brings the value of a key.
pub trait Source<K, V>: Send + Sync + 'static {
    /// Loads one value. `previous` is what the cache still holds, for a
    /// conditional request; answer [`Loaded::unchanged`] to keep it.
    fn load(
        &self,
        key: K,
        previous: Option<Previous<V>>,
    ) -> BoxFuture<'static, Result<Loaded<V>, BoxError>>;
}

impl<K, V, F, L, T, E> Source<K, V> for F
where
    F: Fn(K) -> L + Send + Sync + 'static,
    L: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<Loaded<V>>,
    E: Into<BoxError>,
    V: 'static,
{
    fn load(
        &self,
        key: K,
        _previous: Option<Previous<V>>,
    ) -> BoxFuture<'static, Result<Loaded<V>, BoxError>> {
        let loading = self(key);
        Box::pin(async move { loading.await.map(Into::into).map_err(Into::into) })
    }
}

/// What the cache still holds of a key that is loaded again.
#[derive(Debug)]
pub struct Previous<V> {
    /// The value.
    pub value: Arc<V>,
    /// What the source called its version.
    pub etag: Option<Arc<str>>,
}

/// What a load brought.
#[derive(Clone, Debug)]
pub struct Loaded<V> {
    pub(crate) found: Found<V>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) etag: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Found<V> {
    Value(Arc<V>),
    Absent,
    Unchanged,
}

impl<V> Loaded<V> {
    /// A value.
    #[must_use]
    pub fn value(value: V) -> Self {
        Self::new(Found::Value(Arc::new(value)))
    }

    /// There is no such value; remembered as [`crate::policy::Negative`] says.
    #[must_use]
    pub fn absent() -> Self {
        Self::new(Found::Absent)
    }

    /// The previous value is still good and lives on as if it were new. Without
    /// a previous value this counts as a failed load.
    #[must_use]
    pub fn unchanged() -> Self {
        Self::new(Found::Unchanged)
    }

    fn new(found: Found<V>) -> Self {
        Self {
            found,
            ttl: None,
            etag: None,
        }
    }

    /// Lives at most this long, in every tier. Default: what the policy says. Zero: do not keep it.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What the source calls this version; it comes back with [`Previous`].
    #[must_use]
    pub fn etag(mut self, etag: impl Into<Arc<str>>) -> Self {
        self.etag = Some(etag.into());
        self
    }
}

impl<V> From<V> for Loaded<V> {
    fn from(value: V) -> Self {
        Self::value(value)
    }
}
