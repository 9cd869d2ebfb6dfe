//! The future of one balanced request: choose, wait until ready, call.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::service::Shared;
use super::{BalanceBody, BalanceError};
use crate::affinity::{NoLease, Session};
use crate::breaker::{Slot, Use};
use crate::clock;
use crate::endpoint::{EndpointId, Outcome};
use crate::pick::PickCx;
use crate::pool::Lease;
use crate::retry::record_answer;

/// How often a request that waits for its endpoint looks for it.
const LOOK: Duration = Duration::from_millis(50);

pin_project! {
    /// The answer to one request of a [`Balance`](super::Balance).
    #[must_use = "futures do nothing unless awaited"]
    pub struct BalanceFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        choice: Choice<S>,
        // Until when the endpoint must be ready, or when to look again for it.
        #[pin]
        limit: Option<Sleep>,
        #[pin]
        state: State<B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B, F> {
        Choosing { request: Option<Request<B>> },
        Running { #[pin] answer: F },
    }
}

/// Where the request goes, as far as that is settled.
struct Choice<S> {
    shared: Arc<Shared<S>>,
    session: Session,
    chosen: Option<(S, Lease)>,
    tried: Vec<EndpointId>,
    /// Its place among those that wait for a service to be ready.
    pending: Option<Slot>,
    /// End of the wait for the endpoint of the session.
    waits_until: Option<Instant>,
}

/// What the search for an endpoint needs next.
enum Next {
    /// The chosen endpoint must become ready.
    Ready,
    /// The endpoint of the session may return: look again after a while.
    Look,
}

impl<S, B> BalanceFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn new(shared: Arc<Shared<S>>, session: Session, request: Request<B>) -> Self {
        Self {
            choice: Choice {
                shared,
                session,
                chosen: None,
                tried: Vec::new(),
                pending: None,
                waits_until: None,
            },
            limit: None,
            state: State::Choosing {
                request: Some(request),
            },
        }
    }
}

impl<S, ReqBody, ResBody> Future for BalanceFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<BalanceBody<ResBody>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let request = match this.state.as_mut().project() {
                StateProj::Running { answer } => {
                    let answer = ready!(answer.poll(cx));
                    return Poll::Ready(Ok(this.choice.answered(answer.map_err(Into::into))));
                }
                StateProj::Choosing { request } => request,
            };
            match ready!(this.choice.poll_ready(cx, this.limit.as_mut())) {
                Err(why) => return Poll::Ready(Ok(this.choice.refuse(why))),
                Ok(()) => {
                    let request = request.take().expect("invariant: called once");
                    let (service, _) = this.choice.chosen.as_mut().expect("invariant: ready");
                    let answer = service.call(request);
                    this.limit.set(None);
                    this.state.set(State::Running { answer });
                }
            }
        }
    }
}

impl<S> Choice<S> {
    /// Ready when the chosen service is; goes from one to the next until then.
    fn poll_ready<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut limit: Pin<&mut Option<Sleep>>,
    ) -> Poll<Result<(), BalanceError>>
    where
        S: Service<Request<B>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        loop {
            let mut wait = LOOK;
            if let Next::Ready = self.choose()? {
                let Some((service, lease)) = &mut self.chosen else {
                    continue;
                };
                match service.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        self.pending = None;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Err(error)) => {
                        let error = BalanceError::Endpoint(Arc::from(error.into()));
                        limit.set(None);
                        self.leave(Outcome::Failure, error)?;
                        continue;
                    }
                    Poll::Pending => {
                        wait = self.shared.ready_within;
                        if self.pending.is_none() {
                            let pool = &self.shared.pool;
                            self.pending = pool.take_slot(Use::Pending, lease.endpoint());
                        }
                        if self.pending.is_none() {
                            // As many wait as may: nobody's failure.
                            limit.set(None);
                            self.leave(Outcome::Cancelled, BalanceError::Overloaded)?;
                            continue;
                        }
                    }
                }
            }
            if limit.is_none() {
                let deadline = clock::now() + wait;
                limit.set(Some(tokio::time::sleep_until(deadline.into())));
            }
            if let Some(timer) = limit.as_mut().as_pin_mut() {
                ready!(timer.poll(cx));
            }
            limit.set(None);
            if self.chosen.is_some() {
                self.leave(Outcome::Overloaded, BalanceError::NotReady)?;
            }
        }
    }

    /// Picks an endpoint, unless that was done.
    fn choose(&mut self) -> Result<Next, BalanceError>
    where
        S: Clone,
    {
        while self.chosen.is_none() {
            let now = clock::now();
            let pool = &self.shared.pool;
            let cx = PickCx::new(now, fastrand::u64(..)).tried(&self.tried);
            let lease = match self.session.pick(pool.affinity(), pool, &cx) {
                Ok(lease) => lease,
                Err(NoLease::Wait(longest))
                    if now < *self.waits_until.get_or_insert(now + longest) =>
                {
                    return Ok(Next::Look);
                }
                Err(_) if !self.tried.is_empty() => return Err(BalanceError::NotReady),
                Err(reason) => return Err(reason.into()),
            };
            match self.shared.services.get(lease.endpoint(), pool) {
                Some(service) => self.chosen = Some((service, lease)),
                // A member without a service is as good as none.
                None => self.tried.push(lease.endpoint().id().clone()),
            }
        }
        Ok(Next::Ready)
    }

    /// Gives the chosen endpoint up; `Err` if no other may be tried.
    fn leave(&mut self, outcome: Outcome, why: BalanceError) -> Result<(), BalanceError> {
        self.pending = None;
        if let Some((_, mut lease)) = self.chosen.take() {
            lease.record(outcome, clock::now());
            self.tried.push(lease.endpoint().id().clone());
        }
        if self.tried.len() >= usize::from(self.shared.attempts) {
            return Err(why);
        }
        self.shared.metrics.moved();
        Ok(())
    }

    fn answered<B: Body<Data = Bytes>>(
        &mut self,
        answer: Result<Response<B>, Box<dyn Error + Send + Sync>>,
    ) -> Response<BalanceBody<B>> {
        let (_, mut lease) = self.chosen.take().expect("invariant: it was called");
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                lease.settle(Outcome::Failure, false, clock::now);
                return self.refuse(BalanceError::Endpoint(Arc::from(error)));
            }
        };
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            record_answer(
                &mut lease,
                response.status(),
                response.headers(),
                clock::now(),
            );
        }
        // Only the first word counts.
        let outcome = Outcome::from_status(response.status());
        lease.settle(outcome, !response.body().is_end_stream(), clock::now);
        self.shared.metrics.answered(response.status());
        let headers = response.headers_mut();
        lease.take_report(headers, clock::now);
        let affinity = self.shared.pool.affinity();
        self.session
            .write(affinity, lease.endpoint(), false, headers);
        response.map(|body| BalanceBody::endpoint(body, Some(lease)))
    }

    fn refuse<B: Body<Data = Bytes>>(&self, why: BalanceError) -> Response<BalanceBody<B>> {
        self.shared.metrics.refused(&why);
        why.response().map(BalanceBody::own)
    }
}

impl<S> Drop for Choice<S> {
    fn drop(&mut self) {
        // The client left before the answer: the endpoint is not judged.
        if let Some((_, lease)) = &mut self.chosen {
            lease.record(Outcome::Cancelled, clock::now());
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for BalanceFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture")
            .field("tried", &self.choice.tried)
            .finish_non_exhaustive()
    }
}
