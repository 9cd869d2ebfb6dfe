//! The future of one proxied request: the exchange and its limits.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Method, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::exchange::Exchange;
use super::waits::Phase;
use super::{ProxyBody, ProxyError};
use crate::clock;

pin_project! {
    /// The answer to one request of a [`ReverseProxy`](super::ReverseProxy).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<B: Body> {
        state: State<B>,
        // What is waited for, and how far the exchange was when the wait began.
        armed: Option<(Phase, u32)>,
        // What passes first of all that is waited for.
        first: Phase,
        // The time that is known without asking the clock.
        started: Option<Instant>,
        #[pin]
        limit: Option<Sleep>,
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every request runs; boxing it would cost each one an allocation"
)]
enum State<B: Body> {
    Running(Exchange<B>),
    Refused(ProxyError, Method),
    Done,
}

impl<B: Body> ResponseFuture<B> {
    pub(crate) fn new(exchange: Exchange<B>, now: Instant) -> Self {
        Self {
            state: State::Running(exchange),
            armed: None,
            first: Phase::Connect,
            started: Some(now),
            limit: None,
        }
    }

    pub(crate) fn refused(reason: ProxyError, method: Method) -> Self {
        Self {
            state: State::Refused(reason, method),
            armed: None,
            first: Phase::Connect,
            started: None,
            limit: None,
        }
    }
}

impl<B> Future for ResponseFuture<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    type Output = Result<Response<ProxyBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (answer, method) = loop {
            let exchange = match this.state {
                State::Running(exchange) => exchange,
                State::Refused(reason, method) => break (Err(*reason), method.clone()),
                State::Done => return Poll::Pending,
            };
            if let Poll::Ready(answer) = exchange.poll(cx) {
                if let Err(reason) = &answer {
                    exchange.refused(*reason);
                }
                break (answer, exchange.method().clone());
            }
            let (phase, limit) = exchange.phase();
            let wait = (phase, exchange.progress);
            if this.armed.replace(wait) != Some(wait) {
                let now = this.started.take().unwrap_or_else(clock::now);
                let (first, until) = exchange.first(phase, now + limit);
                *this.first = first;
                let deadline = tokio::time::Instant::from_std(until);
                match this.limit.as_mut().as_pin_mut() {
                    Some(timer) => timer.reset(deadline),
                    None => this.limit.set(Some(tokio::time::sleep_until(deadline))),
                }
            }
            let Some(timer) = this.limit.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            ready!(timer.poll(cx));
            if let Err(reason) = exchange.expire(*this.first) {
                exchange.refused(reason);
                break (Err(reason), exchange.method().clone());
            }
        };
        *this.state = State::Done;
        let response = answer.unwrap_or_else(|reason| {
            reason
                .response(&method)
                .map(|body| ProxyBody::whole(body, None))
        });
        Poll::Ready(Ok(response))
    }
}

impl<B: Body> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("waits_for", &self.armed)
            .finish_non_exhaustive()
    }
}
