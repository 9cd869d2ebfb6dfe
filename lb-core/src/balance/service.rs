//! The balanced service.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::observe::Metrics;
use super::search::Search;
use super::services::{Kept, Make, Services};
use super::{BalanceBody, BalanceFuture};
use crate::affinity::{Affinity, Asked, NoLease, Session};
use crate::client::PeerAddr;
use crate::clock;
use crate::endpoint::{Endpoint, EndpointId, EndpointSpec};
use crate::error::ConfigError;
use crate::explain::Explanation;
use crate::pick::PickCx;
use crate::pool::{Counted, Lease, Picked, Pool};

/// Sends each request to the service of one endpoint; see the [module](super).
///
/// Clones are one service. `S` is cloned per request; a service that is not
/// `Sync` fits into tower's `BoxCloneSyncService`.
pub struct Balance<S> {
    shared: Arc<Shared<S>>,
    kept: Kept<S>,
}

pub(super) struct Shared<S> {
    pub(super) pool: Pool,
    /// That of the pool.
    pub(super) affinity: Option<Arc<Affinity>>,
    pub(super) services: Arc<Services<S>>,
    pub(super) metrics: Metrics,
    pub(super) ready_within: Duration,
    pub(super) attempts: u8,
    explain_key: Option<Arc<str>>,
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
        pool.count_answers(metrics.clone());
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
        self.with(|shared| shared.ready_within = longest)
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Balance<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<BalanceBody<ResBody>>;
    type Error = Infallible;
    type Future = BalanceFuture<S, ReqBody>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if !self.shared.is_plain() {
            return self.call_bound(request);
        }
        let cx = self.shared.pool.cx_now();
        match self.shared.pool.pick_quickly(&cx) {
            Some(picked) => self.go(picked.into(), None, &cx, request),
            None => self.shared.look(None, request),
        }
    }
}

impl<S: Clone> Balance<S> {
    /// A request of a pool that binds clients, or of a service that explains. Apart from the
    /// others, whose request nobody looks at: so it is moved straight into its service.
    #[inline(never)]
    fn call_bound<B>(&mut self, mut request: Request<B>) -> BalanceFuture<S, B>
    where
        S: Service<Request<B>>,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let cx = self.shared.pool.cx_now();
        if let Some(picked) = self.shared.pick_near(&request, &cx) {
            return self.go(picked.into(), None, &cx, request);
        }
        match self.pick_closely(&cx, &mut request) {
            Ok((picked, news)) => self.go(picked.into(), news, &cx, request),
            Err(search) => BalanceFuture::start(search, request),
        }
    }

    /// To this endpoint. `news` is what has something to say in the answer.
    #[inline]
    fn go<B>(
        &mut self,
        counted: Counted,
        news: Option<Box<Search<S>>>,
        cx: &PickCx<'_>,
        request: Request<B>,
    ) -> BalanceFuture<S, B>
    where
        S: Service<Request<B>>,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let shared = &self.shared;
        let services = &shared.services;
        let service = services.get(&mut self.kept, &counted, &shared.pool);
        let Some(mut service) = service else {
            return shared.look(news, request);
        };
        // A service that is not ready is asked again by the first poll, which can be woken.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let answer = service.call(request);
                BalanceFuture::running(Lease::new(counted, cx), news, answer)
            }
            ready => {
                let chosen = (Lease::new(counted, cx), service);
                shared.ask_again(news, chosen, ready, request)
            }
        }
    }

    /// Where a request goes whose session is new here, that may be explained, or finds nobody
    /// at once; or what looks further for it. With the endpoint comes what tells the client of
    /// its session: most go on as they are, and their answers say nothing about them.
    #[inline(never)]
    fn pick_closely<B>(
        &self,
        cx: &PickCx<'_>,
        request: &mut Request<B>,
    ) -> Result<(Picked, Option<Box<Search<S>>>), Box<Search<S>>> {
        let shared = &self.shared;
        let session = shared.session(request);
        let key = shared.explain_key.as_deref();
        if let Some(explanation) = Explanation::asked(key, request.headers_mut()) {
            let mut search = Search::new(shared, session);
            search.explain(explanation);
            return Err(search);
        }
        let picked = match &session {
            None => shared.pool.pick_quickly(cx),
            Some(session) => session.pick_quickly(&shared.pool, cx),
        };
        let Some(picked) = picked else {
            return Err(Search::new(shared, session));
        };
        let news = session.filter(Session::has_news);
        let news = news.map(|session| Search::new(shared, Some(session)));
        Ok((picked, news))
    }
}

impl<S> Shared<S> {
    /// Nobody is bound, and nothing explained.
    #[inline]
    fn is_plain(&self) -> bool {
        self.affinity.is_none() && self.explain_key.is_none()
    }

    /// Looks further for a request, with what is known of it.
    #[cold]
    #[inline(never)]
    fn look<B>(
        self: &Arc<Self>,
        known: Option<Box<Search<S>>>,
        request: Request<B>,
    ) -> BalanceFuture<S, B>
    where
        S: Service<Request<B>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        BalanceFuture::start(self.search(known, &request), request)
    }

    /// What comes after the chosen service was not ready.
    #[cold]
    #[inline(never)]
    fn ask_again<B>(
        self: &Arc<Self>,
        known: Option<Box<Search<S>>>,
        (lease, service): (Lease, S),
        ready: Poll<Result<(), S::Error>>,
        request: Request<B>,
    ) -> BalanceFuture<S, B>
    where
        S: Service<Request<B>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut search = self.search(known, &request);
        search.chosen(lease, service);
        let next = search.asked(ready);
        BalanceFuture::go_on(search, next, request)
    }

    /// What looks further. A session without news may be read twice.
    fn search<B>(
        self: &Arc<Self>,
        known: Option<Box<Search<S>>>,
        request: &Request<B>,
    ) -> Box<Search<S>> {
        known.unwrap_or_else(|| Search::new(self, self.session(request)))
    }

    /// Whom the request is bound to; `None` if the pool binds nobody.
    #[inline]
    fn session<B>(&self, request: &Request<B>) -> Option<Session> {
        let affinity = self.affinity.as_deref()?;
        let peer = request.extensions().get::<PeerAddr>();
        let asked = Asked {
            uri: request.uri(),
            headers: request.headers(),
            peer: peer.map(|peer| peer.0.ip()),
        };
        Some(Session::read(Some(affinity), &asked, clock::unix_seconds))
    }

    /// The way of most requests that are bound: their session goes on as it is.
    #[inline]
    fn pick_near<B>(&self, request: &Request<B>, cx: &PickCx<'_>) -> Option<Picked> {
        let affinity = self.affinity.as_deref()?;
        if self.explain_key.is_some() {
            return None;
        }
        affinity.pick_near(request.headers(), clock::unix_seconds, |binding| {
            self.pool
                .pick_bound_quickly(&binding.id, Some(binding.incarnation), cx)
        })
    }

    /// An endpoint for a request, which has this session.
    #[inline]
    pub(super) fn pick(
        &self,
        session: Option<&mut Session>,
        cx: &PickCx<'_>,
    ) -> Result<Lease, NoLease> {
        match session {
            None => self.pool.pick(cx).map_err(NoLease::Nobody),
            Some(session) => session.pick(self.affinity.as_deref(), &self.pool, cx),
        }
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
