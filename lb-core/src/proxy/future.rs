//! The future of one proxied request: the exchange and its limits.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Method, Response};
use http_body::Body;

use super::alarm::Alarm;
use super::exchange::Exchange;
use super::reused::Reused;
use super::waits::Phase;
use super::{ProxyBody, ProxyError};
use crate::clock;

/// The answer to one request of a [`ReverseProxy`](super::ReverseProxy).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B: Body> {
    state: State<B>,
    /// What is waited for, and how far the exchange was when the wait began.
    armed: Option<(Phase, u32)>,
    /// What passes first of all that is waited for.
    first: Phase,
    /// The time that is known without asking the clock.
    started: Option<Instant>,
    alarm: Alarm,
}

enum State<B: Body> {
    Running(Reused<Exchange<B>>),
    Refused(ProxyError, Method),
    Done,
}

impl<B: Body> ResponseFuture<B> {
    pub(crate) fn new(exchange: Reused<Exchange<B>>, now: Instant) -> Self {
        Self {
            state: State::Running(exchange),
            armed: None,
            first: Phase::Connect,
            started: Some(now),
            alarm: Alarm::default(),
        }
    }

    pub(crate) fn refused(reason: ProxyError, method: Method) -> Self {
        Self {
            state: State::Refused(reason, method),
            armed: None,
            first: Phase::Connect,
            started: None,
            alarm: Alarm::default(),
        }
    }
}

impl<B> Future for ResponseFuture<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    type Output = Result<Response<ProxyBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let answer = loop {
            let exchange = match &mut this.state {
                State::Running(exchange) => &mut **exchange,
                State::Refused(reason, method) => break refuse(*reason, method),
                State::Done => return Poll::Pending,
            };
            match exchange.poll(cx) {
                Poll::Ready(Ok(answer)) => break answer,
                Poll::Ready(Err(reason)) => break exchange.refuse(reason),
                Poll::Pending => {}
            }
            let (phase, limit) = exchange.phase();
            let wait = (phase, exchange.progress);
            if this.armed.replace(wait) != Some(wait) {
                let now = this.started.take().unwrap_or_else(clock::now);
                let (first, until) = exchange.first(phase, now + limit);
                this.first = first;
                this.alarm.set(until);
            }
            ready!(this.alarm.poll(cx));
            if let Err(reason) = exchange.expire(this.first) {
                break exchange.refuse(reason);
            }
        };
        if let State::Running(exchange) = std::mem::replace(&mut this.state, State::Done) {
            exchange.give_back();
        }
        Poll::Ready(Ok(answer))
    }
}

/// The proxy's own answer.
#[cold]
pub(super) fn refuse(reason: ProxyError, method: &Method) -> Response<ProxyBody> {
    let answer = reason.response(method);
    answer.map(|body| ProxyBody::whole(body, None))
}

/// Nothing in it is pinned where it lies.
impl<B: Body> Unpin for ResponseFuture<B> {}

impl<B: Body> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("waits_for", &self.armed)
            .finish_non_exhaustive()
    }
}
