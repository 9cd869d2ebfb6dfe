//! The layer, the service and its future; the story is in the module above.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::algorithm::Algorithm;
use super::gate::{Gate, Permit, Shed};
use super::observe;
use crate::body::HeldBody;

/// Limits the services it wraps, all together.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitLayer {
    gate: Arc<Gate>,
}

/// A service that lets a limited number of requests in at once.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    gate: Arc<Gate>,
}

/// A body whose request counts as in flight until it has ended.
type LimitedBody<B> = HeldBody<B, Option<Permit>>;

type Entering = Pin<Box<dyn Future<Output = Result<Permit, Shed>> + Send>>;

pin_project! {
    /// The answer of a [`ConcurrencyLimit`] service.
    #[must_use = "futures do nothing unless awaited"]
    pub struct ConcurrencyLimitFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, S::Future, R>,
        gate: Arc<Gate>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, R> {
        Waiting { entering: Entering, next: Option<(S, R)> },
        Running { #[pin] inner: F, permit: Option<Permit> },
    }
}

// === impl ConcurrencyLimitLayer ===

impl ConcurrencyLimitLayer {
    /// Lets in what `algorithm` says and refuses the rest at once.
    #[must_use]
    pub fn new(algorithm: impl Algorithm) -> Self {
        Self::queued(algorithm, 0, Duration::ZERO)
    }

    /// Lets in what `algorithm` says; up to `waiting` more wait up to `longest`
    /// for their turn, first come first served.
    #[must_use]
    pub fn queued(algorithm: impl Algorithm, waiting: usize, longest: Duration) -> Self {
        Self {
            gate: Arc::new(Gate::new(Box::new(algorithm), waiting, longest)),
        }
    }

    /// Another algorithm and another queue from now on, for all clones. Requests that
    /// are in stay in; who waits keeps the time it was given.
    pub fn set(&self, algorithm: impl Algorithm, waiting: usize, longest: Duration) {
        self.gate.set(Box::new(algorithm), waiting, longest);
    }

    /// The limit as it is now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.gate.limit()
    }

    /// Requests in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.gate.in_flight()
    }

    /// Requests that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gate.waiting()
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit {
            inner,
            gate: Arc::clone(&self.gate),
        }
    }
}

// === impl ConcurrencyLimit ===

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ConcurrencyLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body + From<Bytes>,
{
    type Response = Response<LimitedBody<ResBody>>;
    type Error = S::Error;
    type Future = ConcurrencyLimitFuture<S, Request<ReqBody>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let gate = Arc::clone(&self.gate);
        let state = match gate.try_enter() {
            Some(permit) => State::Running {
                inner: self.inner.call(request),
                permit: Some(permit),
            },
            None => {
                // The service that was made ready goes along, a fresh clone stays.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                let entering = Box::pin(Arc::clone(&gate).enter());
                State::Waiting {
                    entering,
                    next: Some((ready, request)),
                }
            }
        };
        ConcurrencyLimitFuture { state, gate }
    }
}

// === impl ConcurrencyLimitFuture ===

impl<S, ReqBody, ResBody> Future for ConcurrencyLimitFuture<S, Request<ReqBody>>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body + From<Bytes>,
{
    type Output = Result<Response<LimitedBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Running { inner, permit } => {
                    let answer = ready!(inner.poll(cx));
                    return Poll::Ready(answered(answer, permit.take()));
                }
                StateProj::Waiting { entering, next } => match ready!(entering.as_mut().poll(cx)) {
                    Err(why) => return Poll::Ready(Ok(refusal(why, this.gate.max_wait()))),
                    Ok(permit) => next
                        .take()
                        .map(|(service, request)| (service, request, permit)),
                },
            };
            let (mut service, request, permit) = next.expect("a waiting request is taken once");
            let inner = service.call(request);
            this.state.set(State::Running {
                inner,
                permit: Some(permit),
            });
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for ConcurrencyLimitFuture<S, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConcurrencyLimitFuture")
            .finish_non_exhaustive()
    }
}

/// Learns from the answer and lets its body hold the permit.
fn answered<B: Body, E>(
    answer: Result<Response<B>, E>,
    permit: Option<Permit>,
) -> Result<Response<LimitedBody<B>>, E> {
    if let Some(permit) = &permit {
        permit.answered(
            answer
                .as_ref()
                .map_or(true, |response| is_overload(response.status())),
        );
    }
    answer.map(|response| response.map(|body| HeldBody::new(body, permit)))
}

fn is_overload(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn refusal<B: Body + From<Bytes>>(why: Shed, max_wait: Duration) -> Response<LimitedBody<B>> {
    observe::shed(why);
    let text = Bytes::from_static(b"{\"error\":\"too many requests at once; try again shortly\"}");
    let mut response = Response::new(HeldBody::from(text));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let seconds = max_wait.as_secs().saturating_add(1);
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
