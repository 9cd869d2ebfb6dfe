//! The layer around a router that is one endpoint of a pool.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::observe::Metrics;
use super::{BalanceBody, BalanceError};
use crate::affinity::{Asked, NoLease, Session};
use crate::clock;
use crate::endpoint::{EndpointId, Outcome};
use crate::explain::Explanation;
use crate::pick::PickCx;
use crate::pool::{Ending, Lease, Pool};
use crate::proxy::{ProxyBody, ProxyError, ResponseFuture, ReverseProxy};
use crate::retry::record_answer;

/// Says that another instance has balanced this request already: it is answered
/// where it arrives, so that no request goes round in circles.
const BALANCED: HeaderName = HeaderName::from_static("x-lb-balanced");

/// Balances the requests of the router it wraps; see the [module](super).
///
/// The pool's endpoints are instances of the same service. What is picked for
/// this one (see [`local`](Self::local)) is answered by the wrapped service; the
/// rest goes through a [`ReverseProxy`] with the header `x-lb-balanced`, and is
/// answered where it arrives. A client that sends this header itself is answered
/// by the instance it asked, nothing more.
#[derive(Clone, Debug)]
pub struct BalanceLayer {
    shared: Shared,
}

/// A service of which the wrapped one is a part; made by [`BalanceLayer`].
#[derive(Clone, Debug)]
pub struct Balanced<S> {
    inner: S,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    proxy: ReverseProxy,
    local: Option<EndpointId>,
    metrics: Metrics,
}

// === impl BalanceLayer ===

impl BalanceLayer {
    /// Balances over the endpoints of `pool` through a reverse proxy with its
    /// defaults.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self::with_proxy(ReverseProxy::new(pool))
    }

    /// The same with a proxy that was set up: time-outs, limits, trusted proxies,
    /// and where the client's address is found.
    #[must_use]
    pub fn with_proxy(proxy: ReverseProxy) -> Self {
        Self {
            shared: Shared {
                metrics: Metrics::new(proxy.pool().name()),
                proxy,
                local: None,
            },
        }
    }

    /// Which endpoint of the pool the wrapped service is. Default: none, all
    /// requests go elsewhere unless they were balanced already.
    #[must_use]
    pub fn local(mut self, id: impl Into<EndpointId>) -> Self {
        self.shared.local = Some(id.into());
        self
    }
}

impl<S> Layer<S> for BalanceLayer {
    type Service = Balanced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Balanced {
            inner,
            shared: self.shared.clone(),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("proxy", &self.proxy)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

// === impl Balanced ===

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Balanced<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    ReqBody: Body<Data: Send> + Send + Unpin + 'static,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<BalancedBody<ResBody>>;
    type Error = Infallible;
    type Future = BalancedFuture<S, ReqBody>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The request may go elsewhere: readiness is waited for in the future.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let shared = self.shared.clone();
        let state = match shared.choose(&request) {
            Choice::Here(mut given) => {
                if given.session.is_some() {
                    given.explanation = shared.proxy.explanation(request.headers_mut());
                }
                State::Preparing {
                    request: Some(request),
                    service: self.inner.clone(),
                    given,
                }
            }
            Choice::Elsewhere(choice, peer) => State::Remote {
                answer: shared.forward(request, peer, choice),
            },
            Choice::Nobody(why) => State::Remote {
                answer: shared.proxy.refuse(why, request.method().clone()),
            },
        };
        BalancedFuture { shared, state }
    }
}

/// Who answers.
enum Choice {
    Here(Given),
    Elsewhere((Session, Option<Lease>), Option<IpAddr>),
    Nobody(ProxyError),
}

impl Shared {
    fn choose<B>(&self, request: &Request<B>) -> Choice {
        let pool = self.proxy.pool();
        let now = clock::now();
        let cx = PickCx::new(now, fastrand::u64(..));
        if request.headers().contains_key(&BALANCED) {
            // It counts here, too, unless this instance is full or no member.
            let own = self.local.as_ref();
            let lease = own.and_then(|id| pool.pick_bound(id, None, &cx).ok());
            return Choice::Here(Given {
                session: None,
                lease,
                explanation: None,
            });
        }
        let peer = match self.proxy.find_peer(request.extensions()) {
            Ok(peer) => peer,
            Err(why) => return Choice::Nobody(why),
        };
        let asked = Asked {
            uri: request.uri(),
            headers: request.headers(),
            peer,
        };
        let mut session = Session::read(pool.affinity(), &asked, clock::unix_seconds);
        match session.pick_guarded(pool.affinity(), pool, &cx) {
            Ok(lease) if self.local.as_ref() == Some(lease.endpoint().id()) => {
                Choice::Here(Given {
                    session: Some(session),
                    lease: Some(lease),
                    explanation: None,
                })
            }
            Ok(lease) => Choice::Elsewhere((session, Some(lease)), peer),
            Err(NoLease::Panicked) => Choice::Nobody(ProxyError::Internal),
            // The proxy finds nobody either, and says or waits as it should.
            Err(_) => Choice::Elsewhere((session, None), peer),
        }
    }

    fn forward<B>(
        &self,
        mut request: Request<B>,
        peer: Option<IpAddr>,
        choice: (Session, Option<Lease>),
    ) -> ResponseFuture<B>
    where
        B: Body<Data: Send> + Send + Unpin + 'static,
    {
        let mark = HeaderValue::from_static("1");
        request.headers_mut().insert(BALANCED, mark);
        self.proxy.forward_to(request, peer, Some(choice))
    }
}

// === impl BalancedFuture ===

pin_project! {
    /// The answer of a [`Balanced`] service.
    #[must_use = "futures do nothing unless awaited"]
    pub struct BalancedFuture<S, B>
    where
        S: Service<Request<B>>,
        B: Body,
    {
        shared: Shared,
        #[pin]
        state: State<S, S::Future, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B: Body> {
        Preparing { request: Option<Request<B>>, service: S, given: Given },
        Local { #[pin] answer: F, given: Given },
        Remote { #[pin] answer: ResponseFuture<B> },
    }
}

/// What a request that is answered here holds.
#[derive(Default)]
struct Given {
    /// `None` if another instance balanced it: then that one binds the client
    /// and takes the report.
    session: Option<Session>,
    lease: Option<Lease>,
    explanation: Option<Box<Explanation>>,
}

impl Drop for Given {
    fn drop(&mut self) {
        // The client left before the answer: this instance is not judged.
        if let Some(lease) = &mut self.lease {
            lease.record(Outcome::Cancelled, clock::now());
        }
    }
}

impl<S, ReqBody, ResBody> Future for BalancedFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    ReqBody: Body<Data: Send> + Send + Unpin + 'static,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<BalancedBody<ResBody>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Remote { answer } => {
                    let answer = ready!(answer.poll(cx));
                    return Poll::Ready(answer.map(|response| response.map(BalancedBody::remote)));
                }
                StateProj::Local { answer, given } => {
                    let answer = ready!(answer.poll(cx)).map_err(Into::into);
                    let response = this.shared.answered(answer, given);
                    return Poll::Ready(Ok(response.map(BalancedBody::local)));
                }
                StateProj::Preparing {
                    request,
                    service,
                    given,
                } => match ready!(service.poll_ready(cx)) {
                    Ok(()) => State::Local {
                        answer: service.call(request.take().expect("invariant: called once")),
                        given: std::mem::take(given),
                    },
                    Err(error) => {
                        let response = this.shared.answered(Err(error.into()), given);
                        return Poll::Ready(Ok(response.map(BalancedBody::local)));
                    }
                },
            };
            this.state.set(next);
        }
    }
}

impl Shared {
    fn answered<B: Body<Data = Bytes>>(
        &self,
        answer: Result<Response<B>, Box<dyn Error + Send + Sync>>,
        given: &mut Given,
    ) -> Response<BalanceBody<B>> {
        let now = clock::now();
        let mut lease = given.lease.take();
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                if let Some(lease) = &mut lease {
                    lease.record(Outcome::Failure, now);
                }
                let why = BalanceError::Endpoint(error.into());
                self.metrics.answers.refused(why.code());
                return why.response().map(BalanceBody::own);
            }
        };
        self.metrics.answers.answered(response.status());
        if let Some(lease) = &mut lease {
            record_answer(lease, response.status(), response.headers(), now);
        }
        if let (Some(lease), Some(session)) = (&lease, &given.session) {
            let headers = response.headers_mut();
            lease.take_report(headers, || now);
            let (pool, tls) = (self.proxy.pool(), self.proxy.is_behind_tls());
            let seconds = clock::unix_seconds;
            session.write(pool.affinity(), lease.endpoint(), tls, headers, seconds);
            if let Some(explanation) = &given.explanation {
                explanation.tell(lease.endpoint(), Some(session), pool, headers);
            }
        }
        let lease = lease.filter(|_| !response.body().is_end_stream());
        let ending = lease.map_or(Ending::NOTHING, Ending::from);
        response.map(|body| BalanceBody::endpoint(body, ending))
    }
}

// === BalancedBody ===

pin_project! {
    /// A body of the wrapped service, or of another instance.
    pub struct BalancedBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Local { #[pin] body: BalanceBody<B> },
        Remote { #[pin] body: ProxyBody },
    }
}

impl<B> BalancedBody<B> {
    fn local(body: BalanceBody<B>) -> Self {
        Self {
            kind: Kind::Local { body },
        }
    }

    fn remote(body: ProxyBody) -> Self {
        Self {
            kind: Kind::Remote { body },
        }
    }
}

/// A body of your own, for layers around the service that answer by themselves.
impl<B: Body> From<Bytes> for BalancedBody<B> {
    fn from(text: Bytes) -> Self {
        Self::local(BalanceBody::own(text))
    }
}

impl<B> Body for BalancedBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Local { body } => body.poll_frame(cx).map_err(Into::into),
            KindProj::Remote { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Local { body } => body.is_end_stream(),
            Kind::Remote { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Local { body } => body.size_hint(),
            Kind::Remote { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for BalancedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedBody").finish_non_exhaustive()
    }
}

impl<S: Service<Request<B>>, B: Body> fmt::Debug for BalancedFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedFuture").finish_non_exhaustive()
    }
}
