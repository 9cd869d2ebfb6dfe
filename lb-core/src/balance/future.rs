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

use super::search::{Next, Search, Unanswered};
use super::{BalanceBody, BalanceError};
use crate::clock;
use crate::endpoint::Outcome;
use crate::pool::{Ending, Lease};
use crate::retry::record_answer;

pin_project! {
    /// The answer to one request of a [`Balance`](super::Balance).
    #[must_use = "futures do nothing unless awaited"]
    pub struct BalanceFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        // The endpoint that was called.
        lease: Unanswered,
        // Of requests whose session has news, that are explained, or that had to look further.
        // In a box, because few have one and all move.
        search: Option<Box<Search<S>>>,
        #[pin]
        state: State<B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B, F> {
        Running { #[pin] answer: F },
        // In a box, because few requests wait and all move.
        Searching { request: Option<Box<Request<B>>> },
        Refused { why: Option<BalanceError> },
    }
}

impl<S, B> BalanceFuture<S, B>
where
    S: Service<Request<B>>,
{
    /// The way of most requests: the endpoint of this lease was called.
    #[inline]
    pub(super) fn running(lease: Lease, search: Option<Box<Search<S>>>, answer: S::Future) -> Self {
        Self {
            lease: Unanswered(Some(lease)),
            search,
            state: State::Running { answer },
        }
    }
}

impl<S, B> BalanceFuture<S, B>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A request that must look closer. Calls if a service is ready at once.
    #[cold]
    #[inline(never)]
    pub(super) fn start(mut search: Box<Search<S>>, request: Request<B>) -> Self {
        // A service that is not ready is asked again by the first poll, which can be woken.
        let next = search.step(&mut Context::from_waker(Waker::noop()));
        Self::go_on(search, next, request)
    }

    /// What comes after this step.
    #[cold]
    #[inline(never)]
    pub(super) fn go_on(
        mut search: Box<Search<S>>,
        next: Result<Next, BalanceError>,
        request: Request<B>,
    ) -> Self {
        let mut lease = Unanswered(None);
        let state = match next {
            Ok(Next::Call) => State::Running {
                answer: call(&mut search, &mut lease, request),
            },
            Ok(Next::Again | Next::Wait(_)) => State::Searching {
                request: Some(Box::new(request)),
            },
            Err(why) => State::Refused { why: Some(why) },
        };
        Self {
            lease,
            search: Some(search),
            state,
        }
    }
}

/// Calls the service that is ready.
#[inline]
fn call<S: Service<Request<B>>, B>(
    search: &mut Search<S>,
    lease: &mut Unanswered,
    request: Request<B>,
) -> S::Future {
    let service = search.service.take();
    let answer = service.expect("invariant: ready").call(request);
    std::mem::swap(&mut search.lease, lease);
    answer
}

impl<S, ReqBody, ResBody> Future for BalanceFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<BalanceBody<ResBody>>, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !matches!(self.state, State::Running { .. })
            && let Err(why) = ready!(self.as_mut().poll_search(cx))
        {
            return Poll::Ready(Ok(self.refused(why)));
        }
        let this = self.project();
        let StateProj::Running { answer } = this.state.project() else {
            unreachable!("invariant: the search ended with a call");
        };
        let mut answer = ready!(answer.poll(cx));
        let held = &mut this.lease.0;
        match &mut answer {
            Ok(response) => answered(held, this.search.as_deref(), response),
            Err(_) => failed(held),
        }
        let response = match answer {
            Ok(response) => {
                let ending = held.take().map_or(Ending::NOTHING, Ending::from);
                response.map(|body| BalanceBody::endpoint(body, ending))
            }
            Err(error) => BalanceError::Endpoint(Arc::from(error.into()))
                .response()
                .map(BalanceBody::own),
        };
        Poll::Ready(Ok(response))
    }
}

impl<S, B> BalanceFuture<S, B>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// No endpoint takes the request.
    #[cold]
    fn refused<ResBody: Body>(&self, why: BalanceError) -> Response<BalanceBody<ResBody>> {
        if let Some(search) = &self.search {
            search.shared.metrics.answers.refused(why.code());
        }
        why.response().map(BalanceBody::own)
    }

    /// Looks further until a service is called. In a function of its own: most requests
    /// never come here.
    #[cold]
    #[inline(never)]
    fn poll_search(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BalanceError>> {
        let mut this = self.project();
        let search = this.search.as_deref_mut();
        let search = search.expect("invariant: it is not running");
        loop {
            let request = match this.state.as_mut().project() {
                StateProj::Searching { request } => request,
                StateProj::Refused { why } => {
                    let why = why.take().expect("invariant: not polled after its end");
                    return Poll::Ready(Err(why));
                }
                StateProj::Running { .. } => return Poll::Ready(Ok(())),
            };
            match search.step(cx)? {
                Next::Call => {
                    let request = request.take().expect("invariant: it is called once");
                    let answer = call(search, this.lease, *request);
                    this.state.set(State::Running { answer });
                }
                Next::Again => {}
                Next::Wait(longest) => ready!(search.poll_wait(cx, longest))?,
            }
        }
    }
}

/// The endpoint answered. What holds its place is kept only if a body is still to come.
#[inline]
fn answered<S, B: Body<Data = Bytes>>(
    held: &mut Option<Lease>,
    search: Option<&Search<S>>,
    response: &mut Response<B>,
) {
    let lease = held.as_mut().expect("invariant: it was called");
    if let Some(answers) = lease.endpoint().stats.fleet().answers.get() {
        answers.answered(response.status());
    }
    let mut read = None;
    let mut now = || *read.get_or_insert_with(clock::now);
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        record_answer(lease, response.status(), response.headers(), now());
    }
    // Only the first word counts.
    let outcome = Outcome::from_status(response.status());
    let streams = !response.body().is_end_stream();
    lease.settle(outcome, streams, &mut now);
    let headers = response.headers_mut();
    if !headers.is_empty() {
        lease.take_report(headers, &mut now);
    }
    if let Some(search) = search {
        search.tell(lease.endpoint(), headers);
    }
    if !streams {
        *held = None;
    }
}

/// The endpoint's service failed.
#[cold]
#[inline(never)]
fn failed(held: &mut Option<Lease>) {
    let mut lease = held.take().expect("invariant: it was called");
    if let Some(answers) = lease.endpoint().stats.fleet().answers.get() {
        answers.refused("endpoint_failed");
    }
    lease.settle(Outcome::Failure, false, clock::now);
}

impl<S: Service<Request<B>>, B> fmt::Debug for BalanceFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture").finish_non_exhaustive()
    }
}
