//! The balanced service.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::observe::Metrics;
use super::services::{Kept, Make, Services};
use crate::affinity::Affinity;
use crate::clock;
use crate::endpoint::{Endpoint, EndpointId, EndpointSpec};
use crate::error::ConfigError;
use crate::pool::Pool;

/// Sends each request to the service of one endpoint; see the [module](super).
///
/// Clones are one service. `S` is cloned per request; a service that is not
/// `Sync` fits into tower's `BoxCloneSyncService`.
pub struct Balance<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) kept: Kept<S>,
}

pub(super) struct Shared<S> {
    pub(super) pool: Pool,
    /// That of the pool.
    pub(super) affinity: Option<Arc<Affinity>>,
    pub(super) services: Arc<Services<S>>,
    pub(super) metrics: Metrics,
    pub(super) ready_within: Duration,
    pub(super) attempts: u8,
    pub(super) explain_key: Option<Arc<str>>,
}

impl<S: Clone + Send + Sync + 'static> Balance<S> {
    /// Balances over the endpoints of `pool`. `make` makes the service of an
    /// endpoint when the first request goes there, and again for each new
    /// incarnation or address.
    pub fn new(pool: Pool, make: impl Fn(&Endpoint) -> S + Send + Sync + 'static) -> Self {
        Self::made_by(pool, Box::new(move |endpoint| Some(make(endpoint))))
    }

    /// Balances over these services, under these names, with a pool of its own.
    /// Change its policy or weights through [`pool`](Self::pool).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the pool cannot be built.
    pub fn over<I: Into<EndpointId>>(
        name: impl Into<String>,
        services: impl IntoIterator<Item = (I, S)>,
    ) -> Result<Self, ConfigError> {
        let services: HashMap<EndpointId, S> = services
            .into_iter()
            .map(|(id, service)| (id.into(), service))
            .collect();
        let specs = services
            .keys()
            .map(|id| EndpointSpec::new(id, "local://in-process"));
        let pool = Pool::builder(name).endpoints(specs).build()?;
        let make = move |endpoint: &Endpoint| services.get(endpoint.id()).cloned();
        Ok(Self::made_by(pool, Box::new(make)))
    }

    fn made_by(pool: Pool, make: Make<S>) -> Self {
        let metrics = Metrics::new(pool.name());
        pool.count_answers(metrics.answers.clone());
        Self::from(Shared {
            services: Arc::new(Services::new(make)),
            metrics,
            affinity: pool.affinity().cloned().map(Arc::new),
            pool,
            ready_within: Duration::from_secs(1),
            attempts: 3,
            explain_key: None,
        })
    }

    /// How long one endpoint may take to become ready before another one is
    /// tried. Default: 1 s.
    #[must_use]
    pub fn ready_within(self, longest: Duration) -> Self {
        self.with(|shared| shared.ready_within = clock::bounded(longest))
    }

    /// Endpoints that are tried for one request, the first included. Default: 3;
    /// 0 counts as 1.
    #[must_use]
    pub fn attempts(self, attempts: u8) -> Self {
        self.with(|shared| shared.attempts = attempts.max(1))
    }

    /// Tells who sends `x-lb-explain: KEY` how the answer came about, in a header
    /// of the same name: the endpoint, why it was chosen, which ones were left
    /// before. It names endpoints, so the key is a secret; services never see it.
    /// Default: no key, nobody is told.
    #[must_use]
    pub fn explain(self, key: impl Into<Arc<str>>) -> Self {
        let key: Arc<str> = key.into();
        self.with(|shared| shared.explain_key = (!key.is_empty()).then_some(key))
    }

    /// The pool behind it.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    fn with(self, change: impl FnOnce(&mut Shared<S>)) -> Self {
        let mut shared = Shared::clone(&self.shared);
        change(&mut shared);
        Self::from(shared)
    }
}

impl<S> From<Shared<S>> for Balance<S> {
    fn from(shared: Shared<S>) -> Self {
        Self {
            shared: Arc::new(shared),
            kept: Kept::nothing(),
        }
    }
}

impl<S> Clone for Balance<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            kept: Kept::nothing(),
        }
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            affinity: self.affinity.clone(),
            services: Arc::clone(&self.services),
            metrics: self.metrics.clone(),
            ready_within: self.ready_within,
            attempts: self.attempts,
            explain_key: self.explain_key.clone(),
        }
    }
}

impl<S> fmt::Debug for Balance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("pool", &self.shared.pool)
            .finish_non_exhaustive()
    }
}
