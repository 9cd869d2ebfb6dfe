//! The least that balances over a shared snapshot, as a yardstick.
//!
//! What somebody writes in an afternoon: an [`ArcSwap`] of endpoints, a turn or two draws, a
//! counter of requests in flight, and a guard that holds the endpoint. No weights, no reasons
//! against an endpoint, no second try, no statistics, nothing learned of an answer, and guards
//! that end with the head. It is the shape whose cost on a quiet machine our targets were set
//! by; what it costs on the machine at hand says what they mean there.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::echo::{Asked, Echo};

/// Endpoints that are only counted at.
#[derive(Debug)]
pub struct Sketch {
    snapshot: ArcSwap<Vec<Arc<Endpoint>>>,
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Endpoint {
    in_flight: AtomicU32,
}

/// A request in flight.
#[derive(Debug)]
pub struct Guard(Arc<Endpoint>);

impl Sketch {
    /// Of so many endpoints.
    #[must_use]
    pub fn new(n: usize) -> Self {
        let endpoints = (0..n).map(|_| Arc::default()).collect();
        Self {
            snapshot: ArcSwap::from_pointee(endpoints),
            turn: AtomicUsize::new(0),
        }
    }

    /// One after the other.
    pub fn round_robin(&self) -> Option<Guard> {
        let endpoints = self.snapshot.load();
        // Relaxed: only the number matters.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let place = turn.checked_rem(endpoints.len())?;
        endpoints.get(place).map(Guard::new)
    }

    /// The less busy one of two that are drawn; they may be one.
    pub fn two_drawn(&self, random: u64) -> Option<Guard> {
        let endpoints = self.snapshot.load();
        let draw = |bits: u64| endpoints.get(((bits * endpoints.len() as u64) >> 32) as usize);
        let (one, other) = (draw(random >> 32)?, draw(random & 0xffff_ffff)?);
        // Relaxed: a figure for choosing.
        let in_flight = |endpoint: &Endpoint| endpoint.in_flight.load(Ordering::Relaxed);
        let less = in_flight(other) < in_flight(one);
        Some(Guard::new(if less { other } else { one }))
    }
}

impl Guard {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        // Relaxed: as above; the reference keeps the endpoint.
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(endpoint))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Relaxed: as above.
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How [`SketchService`] chooses.
pub type Choose = fn(&Sketch) -> Option<Guard>;

/// The sketch as a service over echoes.
#[derive(Clone, Debug)]
pub struct SketchService {
    sketch: Arc<Sketch>,
    choose: Choose,
}

impl SketchService {
    /// Over so many endpoints.
    #[must_use]
    pub fn new(n: usize, choose: Choose) -> Self {
        let sketch = Arc::new(Sketch::new(n));
        Self { sketch, choose }
    }
}

impl Service<Asked> for SketchService {
    type Response = <Echo as Service<Asked>>::Response;
    type Error = <Echo as Service<Asked>>::Error;
    type Future = SketchFuture<<Echo as Service<Asked>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Asked>::poll_ready(&mut Echo, cx)
    }

    fn call(&mut self, request: Asked) -> Self::Future {
        let guard = (self.choose)(&self.sketch);
        let inner = Echo.call(request);
        SketchFuture { inner, guard }
    }
}

pin_project! {
    /// An answer, and the guard until it is there.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct SketchFuture<F> {
        #[pin]
        inner: F,
        guard: Option<Guard>,
    }
}

impl<F: Future> Future for SketchFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        this.guard.take();
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::call;

    #[test]
    fn it_counts_and_takes_turns() {
        let sketch = Sketch::new(3);
        let guards: Vec<_> = (0..3).filter_map(|_| sketch.round_robin()).collect();
        let busy = |guard: &Guard| guard.0.in_flight.load(Ordering::Relaxed) == 1;
        assert!(guards.len() == 3 && guards.iter().all(busy));
        // The first is drawn twice; the last and the first.
        let drawn = [0, u64::from(u32::MAX)].map(|random| sketch.two_drawn(random));
        assert!(drawn.iter().all(Option::is_some));
        assert!(Sketch::new(0).round_robin().is_none() && Sketch::new(0).two_drawn(7).is_none());
        let mut service = SketchService::new(2, Sketch::round_robin);
        call(&mut service);
        assert_eq!(service.sketch.turn.load(Ordering::Relaxed), 1);
        let idle = |endpoint: &Arc<Endpoint>| endpoint.in_flight.load(Ordering::Relaxed) == 0;
        assert!(service.sketch.snapshot.load().iter().all(idle));
    }
}
