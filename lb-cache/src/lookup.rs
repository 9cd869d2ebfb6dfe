//! The future of a lookup: a hit is ready at once, without an allocation.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::CacheError;
use crate::source::BoxFuture;

/// A lookup under way. A hit of the local tier is ready when it is made; only
/// everything else is boxed. Dropping it abandons the wait, not the load. The
/// question of a caller that is all alone leaves when its lookup is first polled,
/// or dropped, or when somebody else asks.
#[must_use = "a lookup is a future: await it"]
pub struct Lookup<T>(Option<State<T>>);

/// One pointer each, so that a hit travels in two registers: an error inside, or
/// the two pointers of a boxed future, would send every hit through memory.
enum State<T> {
    Ready(T),
    Failed(Box<CacheError>),
    Slow(Box<BoxFuture<'static, Result<T, CacheError>>>),
}

impl<T> Lookup<T> {
    #[inline]
    pub(crate) fn ready(found: T) -> Self {
        Self(Some(State::Ready(found)))
    }

    pub(crate) fn ended(outcome: Result<T, CacheError>) -> Self {
        Self(Some(match outcome {
            Ok(found) => State::Ready(found),
            Err(error) => State::Failed(Box::new(error)),
        }))
    }

    pub(crate) fn slow(
        lookup: impl Future<Output = Result<T, CacheError>> + Send + 'static,
    ) -> Self {
        Self(Some(State::Slow(Box::new(Box::pin(lookup)))))
    }
}

// Nothing inside is pinned in place: the slow part lives in its own box.
impl<T> Unpin for Lookup<T> {}

impl<T> Future for Lookup<T> {
    type Output = Result<T, CacheError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.0.take();
        match state.expect("invariant: a finished future is not polled again") {
            State::Ready(found) => Poll::Ready(Ok(found)),
            State::Failed(error) => Poll::Ready(Err(*error)),
            State::Slow(mut lookup) => {
                let polled = Pin::new(&mut *lookup).poll(cx);
                if polled.is_pending() {
                    self.0 = Some(State::Slow(lookup));
                }
                polled
            }
        }
    }
}

impl<T> std::fmt::Debug for Lookup<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.0 {
            Some(State::Ready(_) | State::Failed(_)) => "ready",
            Some(State::Slow(_)) => "slow",
            None => "finished",
        };
        f.debug_tuple("Lookup").field(&state).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_fits_two_registers() {
        assert_eq!(size_of::<Lookup<std::sync::Arc<u64>>>(), 16);
        assert_eq!(size_of::<Lookup<Option<std::sync::Arc<u64>>>>(), 16);
    }

    #[tokio::test]
    async fn every_end_arrives() {
        assert!(matches!(Lookup::ready(7).await, Ok(7)));
        let failed = Lookup::<u8>::ended(Err(CacheError::Absent)).await;
        assert!(matches!(failed, Err(CacheError::Absent)));
        let slow = Lookup::slow(async {
            tokio::task::yield_now().await;
            Ok(8)
        });
        assert!(matches!(slow.await, Ok(8)));
    }
}
