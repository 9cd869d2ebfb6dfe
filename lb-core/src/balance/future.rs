//! The future of one balanced request: choose, wait until ready, call.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::search::{Next, Search};
use super::{BalanceBody, BalanceError};
use crate::clock;
use crate::endpoint::Outcome;
use crate::retry::record_answer;

pin_project! {
    /// The answer to one request of a [`Balance`](super::Balance).
    #[must_use = "futures do nothing unless awaited"]
    pub struct BalanceFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        search: Search<S>,
        #[pin]
        state: State<B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B, F> {
        Searching { request: Option<Request<B>> },
        Running { #[pin] answer: F },
        Refused { why: Option<BalanceError> },
    }
}

impl<S, B> BalanceFuture<S, B>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Chooses at once, and calls if that service is ready at once, as most are: then the
    /// request needs no place in this future.
    #[inline]
    pub(super) fn start(mut search: Search<S>, request: Request<B>) -> Self {
        // A service that is not ready is asked again by the first poll, which can be woken.
        let mut cx = Context::from_waker(Waker::noop());
        let state = match search.step(&mut cx) {
            Ok(Next::Call) => State::Running {
                answer: call(&mut search, request),
            },
            Ok(Next::Again | Next::Wait(_)) => State::Searching {
                request: Some(request),
            },
            Err(why) => State::Refused { why: Some(why) },
        };
        Self { search, state }
    }
}

/// Calls the service that is ready.
#[inline]
fn call<S: Service<Request<B>>, B>(search: &mut Search<S>, request: Request<B>) -> S::Future {
    let service = search.service.take();
    service.expect("invariant: ready").call(request)
}

impl<S, ReqBody, ResBody> Future for BalanceFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<BalanceBody<ResBody>>, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let request = match this.state.as_mut().project() {
                StateProj::Running { answer } => {
                    let answer = ready!(answer.poll(cx));
                    return Poll::Ready(Ok(this.search.answered(answer)));
                }
                StateProj::Refused { why } => {
                    let why = why.take().expect("invariant: not polled after its end");
                    return Poll::Ready(Ok(this.search.refuse(why)));
                }
                StateProj::Searching { request } => request,
            };
            match this.search.step(cx) {
                Ok(Next::Call) => {
                    let request = request.take().expect("invariant: called once");
                    let answer = call(this.search, request);
                    this.state.set(State::Running { answer });
                }
                Ok(Next::Again) => {}
                Ok(Next::Wait(longest)) => {
                    if let Err(why) = ready!(this.search.poll_wait(cx, longest)) {
                        return Poll::Ready(Ok(this.search.refuse(why)));
                    }
                }
                Err(why) => return Poll::Ready(Ok(this.search.refuse(why))),
            }
        }
    }
}

impl<S> Search<S> {
    #[inline]
    fn answered<B, E>(&mut self, answer: Result<Response<B>, E>) -> Response<BalanceBody<B>>
    where
        B: Body<Data = Bytes>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let lease = self.lease.as_mut().expect("invariant: it was called");
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                lease.settle(Outcome::Failure, false, clock::now);
                self.lease = None;
                return self.refuse(BalanceError::Endpoint(Arc::from(error.into())));
            }
        };
        let mut read = None;
        let mut now = || *read.get_or_insert_with(clock::now);
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            record_answer(lease, response.status(), response.headers(), now());
        }
        // Only the first word counts.
        let outcome = Outcome::from_status(response.status());
        let streams = !response.body().is_end_stream();
        lease.settle(outcome, streams, &mut now);
        self.shared.metrics.answered(response.status());
        let headers = response.headers_mut();
        if !headers.is_empty() {
            lease.take_report(headers, &mut now);
        }
        if let Some(session) = &self.session {
            let affinity = self.shared.pool.affinity();
            let seconds = clock::unix_seconds;
            session.write(affinity, lease.endpoint(), false, headers, seconds);
        }
        let rare = self.rare.as_ref();
        if let Some(explanation) = rare.and_then(|rare| rare.explanation.as_ref()) {
            let session = self.session.as_ref();
            explanation.tell(lease.endpoint(), session, &self.shared.pool, headers);
        }
        if !streams {
            self.lease = None;
        }
        let lease = self.lease.take();
        response.map(|body| BalanceBody::endpoint(body, lease))
    }

    #[cold]
    fn refuse<B: Body<Data = Bytes>>(&self, why: BalanceError) -> Response<BalanceBody<B>> {
        self.shared.metrics.refused(&why);
        why.response().map(BalanceBody::own)
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for BalanceFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture").finish_non_exhaustive()
    }
}
