//! The future of a lookup: a hit is ready at once, without an allocation.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::CacheError;
use crate::source::BoxFuture;

/// A lookup under way. A hit of the local tier is ready when it is made; only
/// everything else is boxed. Dropping it abandons the wait, not the load.
#[must_use = "a lookup is a future: await it"]
pub struct Lookup<T>(State<T>);

enum State<T> {
    Ready(Option<Result<T, CacheError>>),
    Slow(BoxFuture<'static, Result<T, CacheError>>),
}

impl<T> Lookup<T> {
    #[inline]
    pub(crate) fn ready(outcome: Result<T, CacheError>) -> Self {
        Self(State::Ready(Some(outcome)))
    }

    pub(crate) fn slow(
        lookup: impl Future<Output = Result<T, CacheError>> + Send + 'static,
    ) -> Self {
        Self(State::Slow(Box::pin(lookup)))
    }
}

// Nothing inside is pinned in place: the slow part lives in its own box.
impl<T> Unpin for Lookup<T> {}

impl<T> Future for Lookup<T> {
    type Output = Result<T, CacheError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(outcome) => Poll::Ready(
                outcome
                    .take()
                    .expect("invariant: a finished future is not polled again"),
            ),
            State::Slow(lookup) => lookup.as_mut().poll(cx),
        }
    }
}

impl<T> std::fmt::Debug for Lookup<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.0 {
            State::Ready(_) => "ready",
            State::Slow(_) => "slow",
        };
        f.debug_tuple("Lookup").field(&state).finish()
    }
}
