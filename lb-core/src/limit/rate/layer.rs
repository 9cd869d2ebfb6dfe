//! The layer, the service and its future; the story is in the module above.

use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::limiter::RateLimiter;
use super::quota::Quota;
use super::{QuotaError, Verdict, observe, response};

type KeyOf<K> = dyn Fn(&Parts) -> Option<K> + Send + Sync;

/// Limits the services it wraps, all together.
pub struct RateLimitLayer<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K>,
    key_of: Arc<KeyOf<K>>,
}

/// A service whose requests are limited by key.
pub struct RateLimit<S, K: Hash + Eq + Clone> {
    inner: S,
    limiter: RateLimiter<K>,
    key_of: Arc<KeyOf<K>>,
}

pin_project! {
    /// The answer of a [`RateLimit`] service.
    #[must_use = "futures do nothing unless awaited"]
    #[derive(Debug)]
    pub struct RateLimitFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Passed { #[pin] inner: F, verdict: Option<Verdict> },
        Refused { quota: Quota, retry_after: Duration },
    }
}

// === impl RateLimitLayer ===

impl<K: Hash + Eq + Clone> RateLimitLayer<K> {
    /// Limits each key to `quota`. A request for which `key_of` finds no key passes.
    ///
    /// A panic in `key_of` costs that request only.
    ///
    /// # Errors
    ///
    /// [`QuotaError::OutOfRange`] if the quota cannot be kept.
    pub fn new(
        quota: Quota,
        key_of: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Result<Self, QuotaError> {
        Ok(Self::with_limiter(RateLimiter::new(quota)?, key_of))
    }

    /// Limits by a limiter that is also used elsewhere, or changed at run time.
    #[must_use]
    pub fn with_limiter(
        limiter: RateLimiter<K>,
        key_of: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        Self {
            limiter,
            key_of: Arc::new(key_of),
        }
    }

    /// The limiter, to look at it or to change its quota.
    #[must_use]
    pub fn limiter(&self) -> &RateLimiter<K> {
        &self.limiter
    }
}

impl<S, K: Hash + Eq + Clone> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimit<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit {
            inner,
            limiter: self.limiter.clone(),
            key_of: Arc::clone(&self.key_of),
        }
    }
}

// === impl RateLimit ===

impl<S, K, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimit<S, K>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    K: Hash + Eq + Clone,
    ResBody: From<Bytes>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (head, body) = request.into_parts();
        let verdict = (self.key_of)(&head).map(|key| self.limiter.check(&key));
        if let Some(verdict) = verdict {
            observe::weighed(&verdict);
        }
        let state = match verdict {
            Some(Verdict::Refused { quota, retry_after }) => State::Refused { quota, retry_after },
            verdict => State::Passed {
                inner: self.inner.call(Request::from_parts(head, body)),
                verdict,
            },
        };
        RateLimitFuture { state }
    }
}

// === impl RateLimitFuture ===

impl<F, B, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<Bytes>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Refused { quota, retry_after } => {
                Poll::Ready(Ok(response::too_many(*quota, *retry_after)))
            }
            StateProj::Passed { inner, verdict } => {
                let mut answer = ready!(inner.poll(cx));
                if let (Ok(answer), Some(verdict)) = (&mut answer, *verdict) {
                    response::tell(answer, verdict);
                }
                Poll::Ready(answer)
            }
        }
    }
}

// === Clone and Debug, without asking for either of K and S ===

impl<K: Hash + Eq + Clone> Clone for RateLimitLayer<K> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            key_of: Arc::clone(&self.key_of),
        }
    }
}

impl<S: Clone, K: Hash + Eq + Clone> Clone for RateLimit<S, K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: self.limiter.clone(),
            key_of: Arc::clone(&self.key_of),
        }
    }
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for RateLimitLayer<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RateLimitLayer")
            .field("quota", &self.limiter.quota())
            .finish_non_exhaustive()
    }
}

impl<S, K: Hash + Eq + Clone> std::fmt::Debug for RateLimit<S, K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RateLimit")
            .field("quota", &self.limiter.quota())
            .finish_non_exhaustive()
    }
}
