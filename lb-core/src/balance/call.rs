//! One call of a balanced service: to whom it goes, and what looks further for it.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::search::Search;
use super::service::{Balance, Shared};
use super::{BalanceBody, BalanceFuture};
use crate::affinity::{Asked, NoLease, Session};
use crate::client::PeerAddr;
use crate::clock;
use crate::explain::Explanation;
use crate::pick::PickCx;
use crate::pool::{Counted, Lease, Picked};

/// What has something to tell the client in the answer, of few requests.
type News<S> = Option<Box<Search<S>>>;

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
        news: News<S>,
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
    ) -> Result<(Picked, News<S>), Box<Search<S>>> {
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
    fn look<B>(self: &Arc<Self>, known: News<S>, request: Request<B>) -> BalanceFuture<S, B>
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
        known: News<S>,
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
    fn search<B>(self: &Arc<Self>, known: News<S>, request: &Request<B>) -> Box<Search<S>> {
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
