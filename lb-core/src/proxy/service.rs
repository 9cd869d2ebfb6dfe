//! The proxy as a tower service.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use http::{Extensions, HeaderMap, Method, Request, Response, request};
use http_body::Body;
use tower_service::Service;

use super::budget::SharedBudget;
use super::exchange::{Choice, Exchange};
use super::future::ResponseFuture;
use super::interim::{Outlet, Relay};
use super::observe::Metrics;
use super::route::{RoutePolicy, Routes};
use super::tls;
use super::tunnel::Tunnels;
use super::upstream::connection::Connection;
use super::upstream::idle::{IdleConnections, is_welcome};
use super::{Limits, ProxyBody, ProxyError, Timeouts, Via};
use crate::affinity::Affinity;
use crate::client::{PeerAddr, TrustedProxies};
use crate::clock;
use crate::deadline::DeadlineHeader;
use crate::endpoint::Endpoint;
use crate::explain::Explanation;
use crate::hedge::Hedge;
use crate::observe;
use crate::pool::Pool;
use crate::retry::{RetryBudget, RetryOn};

/// Forwards requests to the endpoints of a pool; see the [module](super).
///
/// Always ready, never fails: what goes wrong becomes an answer. Clones share
/// connections and tunnels; dropping the last one ends both.
#[derive(Clone)]
pub struct ReverseProxy {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    /// A request keeps the settings that it began with.
    current: ArcSwap<Inner>,
    /// Held while they change.
    change: Mutex<()>,
}

/// What every request of a proxy shares.
#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) pool: Pool,
    affinity: Option<Arc<Affinity>>,
    pub(crate) idle: Arc<IdleConnections>,
    pub(crate) tunnels: Tunnels,
    pub(crate) metrics: Metrics,
    pub(crate) budget: Arc<SharedBudget>,
    pub(crate) config: Config,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) routes: Routes,
    /// How long unused connections are kept.
    pub(crate) idle: Duration,
    pub(crate) trusted: TrustedProxies,
    pub(crate) normal_paths: bool,
    pub(crate) tls: bool,
    /// How `https` endpoints are reached, if at all.
    pub(crate) tls_connector: Option<tls::Connector>,
    pub(crate) explain_key: Option<Arc<str>>,
    pub(crate) deadline: Option<DeadlineHeader>,
    pub(crate) via: Option<Via>,
    peer: Option<fn(&Extensions) -> Option<SocketAddr>>,
}

impl ReverseProxy {
    /// Unused connections kept per endpoint and thread.
    const IDLE_PER_ENDPOINT: usize = 128;

    pub(crate) fn new(pool: Pool) -> Self {
        let config = Config {
            routes: Routes::default(),
            idle: Timeouts::default().idle,
            trusted: TrustedProxies::default(),
            normal_paths: false,
            tls: false,
            tls_connector: None,
            explain_key: None,
            deadline: None,
            via: None,
            peer: None,
        };
        let idle = Arc::new(IdleConnections::new(Self::IDLE_PER_ENDPOINT));
        let affinity = pool.affinity().cloned().map(Arc::new);
        let (tunnels, metrics) = (Tunnels::default(), Metrics::new(pool.name()));
        let budget = RetryBudget::new(0.2, Duration::from_secs(10), 3.0);
        Self::made_of(Inner {
            pool,
            affinity,
            idle,
            tunnels,
            metrics,
            budget: Arc::new(SharedBudget::new(budget)),
            config,
        })
    }

    /// What a request may measure. Default: [`Limits::default`].
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|config| config.routes.common().limits = limits)
    }

    /// How long each phase may take. Default: [`Timeouts::default`].
    #[must_use]
    pub fn timeouts(self, timeouts: Timeouts) -> Self {
        self.with(|config| {
            config.idle = timeouts.idle;
            config.routes.common().timeouts = timeouts;
        })
    }

    /// Whose forwarding fields are believed. Default: nobody's.
    #[must_use]
    pub fn trust(self, proxies: TrustedProxies) -> Self {
        self.with(|config| config.trusted = proxies)
    }

    /// Signs requests in `Via`, and answers 508 to those that bear this name already. Default:
    /// none is signed; endpoints may treat signed requests otherwise (nginx does not compress
    /// for them).
    #[must_use]
    pub fn via(self, via: Via) -> Self {
        self.with(|config| config.via = Some(via))
    }

    /// Endpoints that one request may be tried on, the first included. Only
    /// requests that are safe to send twice get a second one. Default: 3; 0
    /// counts as 1.
    #[must_use]
    pub fn attempts(self, attempts: u8) -> Self {
        self.with(|config| config.routes.common().attempts = attempts.max(1))
    }

    /// Answers after which another endpoint is asked, if the request may be sent twice
    /// and the budget allows. Default: [`RetryOn::nothing`].
    #[must_use]
    pub fn retry_on(self, answers: RetryOn) -> Self {
        self.with(|config| config.routes.common().retry_on = answers)
    }

    /// Asks a second endpoint beside the first when that takes long, see
    /// [`hedge`](crate::hedge). Default: never.
    #[must_use]
    pub fn hedge(self, hedge: impl Into<Option<Hedge>>) -> Self {
        self.with(|config| config.routes.common().hedge = hedge.into())
    }

    /// Where clients say how long they wait, and endpoints are told what is left, see
    /// [`deadline`](crate::deadline). Default: nowhere.
    #[must_use]
    pub fn deadline(self, header: DeadlineHeader) -> Self {
        self.with(|config| config.deadline = Some(header))
    }

    /// How many second and later attempts all requests together may make; clones
    /// share it. When nothing is left, a failed attempt is the answer. What this proxy has
    /// counted until now counts on. Default: a fifth of the requests of the last 10 s, and
    /// 3 per second always.
    #[must_use]
    pub fn retry_budget(self, budget: RetryBudget) -> Self {
        let mut inner = Inner::clone(&self.inner());
        inner.budget = Arc::new(inner.budget.under(budget));
        Self::made_of(inner)
    }

    /// Other rules for paths below `prefix`, which ends where a segment ends; of
    /// several the longest counts. `change` starts from what is set for all, so
    /// set that first. How long unused connections are kept is the same for all.
    ///
    /// Paths are compared as they were sent: combine this with
    /// [`only_normal_paths`](Self::only_normal_paths).
    ///
    /// ```
    /// use lb_core::proxy::Limits;
    ///
    /// let pool = lb_core::Pool::builder("app").endpoints(["http://127.0.0.1:8001"]).build()?;
    /// let proxy = pool.reverse_proxy().limits(Limits::default().body_bytes(Some(1 << 20))).route(
    ///     "/uploads",
    ///     |policy| policy.limits(Limits::default().body_bytes(Some(50 << 20))).attempts(1),
    /// );
    /// # Ok::<(), lb_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn route(
        self,
        prefix: impl Into<String>,
        change: impl FnOnce(RoutePolicy) -> RoutePolicy,
    ) -> Self {
        self.with(|config| config.routes.add(prefix.into(), change))
    }

    /// Refuses paths that are not in normal form, see
    /// [`is_normal_path`](super::is_normal_path): for gateways that decide by
    /// path. Default: off; the path is forwarded as it was sent either way.
    #[must_use]
    pub fn only_normal_paths(self) -> Self {
        self.with(|config| config.normal_paths = true)
    }

    /// Clients reach this process over TLS, ended by the server in front of this
    /// service: endpoints are told `https`, and cookies are `Secure`. Default: off.
    #[must_use]
    pub fn behind_tls(self) -> Self {
        self.with(|config| config.tls = true)
    }

    /// Tells who sends `x-lb-explain: KEY` how the answer came about, in a header
    /// of the same name: the endpoint, why it was chosen, the attempts before.
    /// It names endpoints, so the key is a secret; endpoints never see it.
    /// Default: no key, nobody is told.
    #[must_use]
    pub fn explain(self, key: impl Into<Arc<str>>) -> Self {
        let key: Arc<str> = key.into();
        self.with(|config| config.explain_key = (!key.is_empty()).then_some(key))
    }

    /// Where the client's address is found. Default: the extension [`PeerAddr`]. Should
    /// `find` panic, the request is answered with 500.
    ///
    /// With axum's `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use axum::extract::ConnectInfo;
    ///
    /// let pool = lb_core::Pool::builder("app").endpoints(["http://127.0.0.1:8001"]).build()?;
    /// let proxy = pool.reverse_proxy().peer(|extensions| {
    ///     extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    /// });
    /// # Ok::<(), lb_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn peer(self, find: fn(&Extensions) -> Option<SocketAddr>) -> Self {
        self.with(|config| config.peer = Some(find))
    }

    /// The pool behind it.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Tunnels that are open.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.inner().tunnels.count()
    }

    /// Ends every tunnel at once, as a last step of a shutdown.
    pub fn close_tunnels(&self) {
        self.inner().tunnels.abort();
    }

    /// Closes the unused connections to an endpoint, for example when it was
    /// ejected. Those in use finish.
    pub fn close_idle(&self, endpoint: &Endpoint) {
        self.inner().idle.close(endpoint.uri());
    }

    /// Forwards `request`, which came over a connection from `peer`.
    pub fn forward<B>(&self, request: Request<B>, peer: Option<IpAddr>) -> ResponseFuture<B>
    where
        B: Body<Data: Send> + Send + Unpin + 'static,
    {
        self.forward_to(request, peer, None)
    }

    /// The same over a connection that can be told something in passing.
    pub(super) fn forward_over<B>(
        &self,
        (head, body): (request::Parts, B),
        peer: Option<IpAddr>,
        outlet: Option<Arc<dyn Outlet>>,
    ) -> ResponseFuture<B>
    where
        B: Body<Data: Send> + Send + Unpin + 'static,
    {
        self.begin((head, body), peer, None, Relay::new(outlet))
    }

    /// The same for a request whose session was read, and perhaps its endpoint
    /// picked, before.
    pub(crate) fn forward_to<B>(
        &self,
        request: Request<B>,
        peer: Option<IpAddr>,
        choice: Option<Choice>,
    ) -> ResponseFuture<B>
    where
        B: Body<Data: Send> + Send + Unpin + 'static,
    {
        self.begin(request.into_parts(), peer, choice, Relay::default())
    }

    fn begin<B>(
        &self,
        (head, body): (request::Parts, B),
        peer: Option<IpAddr>,
        choice: Option<Choice>,
        relay: Relay,
    ) -> ResponseFuture<B>
    where
        B: Body<Data: Send> + Send + Unpin + 'static,
    {
        let method = head.method.clone();
        let now = clock::now();
        let inner = self.inner();
        match Exchange::new(Arc::clone(&inner), (head, body), peer, choice, relay, now) {
            Ok(exchange) => ResponseFuture::new(exchange, now),
            Err(refusal) => {
                inner.metrics.refused(refusal);
                ResponseFuture::refused(refusal, method)
            }
        }
    }

    /// The answer to a request that is not forwarded.
    pub(crate) fn refuse<B>(&self, why: ProxyError, method: Method) -> ResponseFuture<B>
    where
        B: Body<Data: Send> + Send + Unpin + 'static,
    {
        self.inner().metrics.refused(why);
        ResponseFuture::refused(why, method)
    }

    /// The address of the client's connection, where it is known; an error if the
    /// application's way to find it panics.
    pub(crate) fn find_peer(&self, extensions: &Extensions) -> Result<Option<IpAddr>, ProxyError> {
        let Some(find) = self.inner().config.peer else {
            let peer = extensions.get::<PeerAddr>();
            return Ok(peer.map(|peer| peer.0.ip()));
        };
        let mut found = Err(ProxyError::Internal);
        observe::guarded("peer", || {
            found = Ok(find(extensions).map(|peer| peer.ip()));
        });
        found
    }

    /// What will be told about a request with these fields, if it asks with the right key.
    pub(crate) fn explanation(&self, headers: &mut HeaderMap) -> Option<Box<Explanation>> {
        Explanation::asked(self.inner().config.explain_key.as_deref(), headers)
    }

    /// Clients reach this process over TLS.
    pub(crate) fn is_behind_tls(&self) -> bool {
        self.inner().config.tls
    }

    /// Changes the settings of this proxy and all its clones while it runs; `change` gets
    /// them as they are. Requests that have begun keep those they began with. Of changes
    /// at once one waits for the other, so do not change it again within `change`. Cost: as
    /// making a proxy.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lb_core::proxy::Timeouts;
    ///
    /// let pool = lb_core::Pool::builder("app").endpoints(["http://127.0.0.1:8001"]).build()?;
    /// let proxy = pool.reverse_proxy();
    /// let serving = proxy.clone();
    /// proxy.reconfigure(|proxy| {
    ///     let quick = Timeouts::default().per_attempt(Duration::from_secs(2));
    ///     proxy.timeouts(quick.total(Duration::from_secs(5))).attempts(3)
    /// });
    /// # drop(serving);
    /// # Ok::<(), lb_core::ConfigError>(())
    /// ```
    pub fn reconfigure(&self, change: impl FnOnce(Self) -> Self) {
        let turn = self.shared.change.lock();
        // A panic while it was held changed nothing.
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        // One more handle on a copy of the settings: this proxy itself stays as it is.
        let changed = change(Self::made_of(Inner::clone(&self.inner())));
        self.shared
            .current
            .store(changed.shared.current.load_full());
    }

    fn made_of(inner: Inner) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool: inner.pool.clone(),
                current: ArcSwap::from_pointee(inner),
                change: Mutex::new(()),
            }),
        }
    }

    fn inner(&self) -> Guard<Arc<Inner>> {
        self.shared.current.load()
    }

    pub(super) fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut inner = Inner::clone(&self.inner());
        change(&mut inner.config);
        Self::made_of(inner)
    }
}

impl Pool {
    /// A reverse proxy over this pool, for HTTP and WebSocket. Mount it with
    /// axum's `fallback_service`, or serve it by itself; see [`proxy`](super).
    #[must_use]
    pub fn reverse_proxy(&self) -> ReverseProxy {
        ReverseProxy::new(self.clone())
    }
}

impl<B> Service<Request<B>> for ReverseProxy
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.find_peer(request.extensions()) {
            Ok(peer) => self.forward(request, peer),
            Err(refusal) => self.refuse(refusal, request.method().clone()),
        }
    }
}

impl fmt::Debug for ReverseProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReverseProxy")
            .field("pool", &self.shared.pool)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// Keeps a connection for the next request, unless its endpoint takes none.
    pub(crate) fn keep(&self, endpoint: &Endpoint, connection: Box<Connection>, now: Instant) {
        if is_welcome(endpoint.stats()) {
            self.idle.put(endpoint, connection, self.config.idle, now);
        } else {
            self.idle.close(endpoint.uri());
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
