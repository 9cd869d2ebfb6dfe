//! The contract of a tower service, as one function that judges any layer.
//!
//! 1. `poll_ready` comes before every `call`, on clones, too.
//! 2. What one clone reserved is neither spent nor lost by another.
//! 3. `Pending` always registers a waker.
//! 4. A future dropped at any point cancels its work and gives back what it held.
//! 5. Nothing of a request runs on once its answer is there and read.
//! 6. The cause of an error can be reached.
//! 7. A configuration that cannot work is an error, not a panic (asserted per layer).

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};

/// What the innermost service sees.
#[derive(Default)]
pub(crate) struct World {
    /// Calls of an instance that was not ready.
    unready_calls: AtomicUsize,
    /// Reservations that are held.
    reserved: AtomicUsize,
    /// Calls whose future exists.
    running: AtomicUsize,
    ready: Gate,
    answer: Gate,
    fails: std::sync::atomic::AtomicBool,
}

/// Closed until it is opened; wakes who waits.
#[derive(Default)]
struct Gate(Mutex<(bool, Vec<Waker>)>);

impl Gate {
    fn set(&self, open: bool) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = open;
        if open {
            gate.1.drain(..).for_each(Waker::wake);
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut gate = self.0.lock().unwrap();
        if gate.0 {
            return Poll::Ready(());
        }
        gate.1.push(cx.waker().clone());
        Poll::Pending
    }
}

/// Counts until it is dropped.
struct Counted(Arc<World>, fn(&World) -> &AtomicUsize);

impl Counted {
    fn new(world: &Arc<World>, which: fn(&World) -> &AtomicUsize) -> Self {
        which(world).fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(world), which)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::SeqCst);
    }
}

/// A service that notices every breach.
pub(crate) struct Strict {
    world: Arc<World>,
    reservation: Option<Counted>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::of(&self.world)
    }
}

impl Strict {
    fn of(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            reservation: None,
        }
    }
}

/// The innermost error.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

pub(crate) struct StrictFuture {
    running: Counted,
    _reservation: Option<Counted>,
}

impl<B> Service<Request<B>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Broken;
    type Future = StrictFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.reservation.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.world.ready.poll(cx).map(|()| {
            self.reservation = Some(Counted::new(&self.world, |world| &world.reserved));
            Ok(())
        })
    }

    fn call(&mut self, _: Request<B>) -> StrictFuture {
        let reservation = self.reservation.take();
        if reservation.is_none() {
            self.world.unready_calls.fetch_add(1, Ordering::SeqCst);
        }
        StrictFuture {
            running: Counted::new(&self.world, |world| &world.running),
            _reservation: reservation,
        }
    }
}

impl Future for StrictFuture {
    type Output = Result<Response<Full<Bytes>>, Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let world = &self.running.0;
        world.answer.poll(cx).map(|()| {
            if world.fails.load(Ordering::SeqCst) {
                return Err(Broken);
            }
            Ok(Response::new(Full::from("done")))
        })
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Ask = Request<Full<Bytes>>;

fn ask() -> Ask {
    Request::new(Full::default())
}

fn count(which: &AtomicUsize) -> usize {
    which.load(Ordering::SeqCst)
}

/// Judges the service that `make` builds around a strict one; `reaches` finds the cause
/// of a failure in what the caller gets. Panics at the first breach.
pub(crate) async fn keeps_the_contract<S, B>(
    make: impl Fn(Strict) -> S,
    reaches: impl Fn(Result<Response<B>, S::Error>) -> bool,
) where
    S: Service<Ask, Response = Response<B>> + Clone,
    S::Error: fmt::Debug,
    B: Body<Error: fmt::Debug>,
{
    let world = Arc::new(World::default());
    let service = make(Strict::of(&world));
    world.ready.set(true);
    world.answer.set(true);
    clones_are_made_ready_and_keep_their_own(&world, &service).await;
    wakers_are_registered(&world, &service).await;
    dropping_cancels(&world, &service);
    world.fails.store(true, Ordering::SeqCst);
    let failure = service.clone().oneshot(ask()).await;
    assert!(reaches(failure), "6: the cause is lost");
    is_at_rest(&world, "after a failure");
}

async fn clones_are_made_ready_and_keep_their_own<S, B>(world: &Arc<World>, service: &S)
where
    S: Service<Ask, Response = Response<B>> + Clone,
    S::Error: fmt::Debug,
    B: Body<Error: fmt::Debug>,
{
    let (mut one, mut other) = (service.clone(), service.clone());
    one.ready().await.expect("ready");
    let mut late = one.clone();
    other.ready().await.expect("ready");
    drop(other);
    for service in [&mut late, &mut one] {
        let answer = service.ready().await.expect("ready").call(ask()).await;
        let body = answer.expect("an answer").into_body().collect().await;
        body.expect("a body");
    }
    // Twice on one instance.
    one.ready().await.expect("ready");
    drop((one, late));
    assert_eq!(
        count(&world.unready_calls),
        0,
        "1: a call without poll_ready"
    );
    is_at_rest(world, "2, 5: after answers and dropped clones");
}

async fn wakers_are_registered<S, B>(world: &Arc<World>, service: &S)
where
    S: Service<Ask, Response = Response<B>> + Clone,
    S::Error: fmt::Debug,
{
    world.ready.set(false);
    world.answer.set(false);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let mut asking = Box::pin(service.clone().oneshot(ask()));
    for gate in [&world.ready, &world.answer] {
        let early = asking.as_mut().poll(&mut cx).is_ready();
        assert!(!early, "3: it answers before its service does");
        let before = count(&wakes.0);
        gate.set(true);
        assert!(count(&wakes.0) > before, "3: pending without a waker");
    }
    assert!(asking.as_mut().poll(&mut cx).is_ready(), "3: it hangs");
}

fn dropping_cancels<S, B>(world: &Arc<World>, service: &S)
where
    S: Service<Ask, Response = Response<B>> + Clone,
    S::Error: fmt::Debug,
{
    world.answer.set(false);
    let mut cx = Context::from_waker(Waker::noop());
    for (ready, polls, running) in [(false, 0, 0), (false, 1, 0), (true, 1, 1), (true, 3, 1)] {
        world.ready.set(ready);
        let mut asking = Box::pin(service.clone().oneshot(ask()));
        for _ in 0..polls {
            assert!(asking.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(count(&world.running), running, "it got that far");
        drop(asking);
        is_at_rest(world, "4: after a dropped future");
    }
    world.ready.set(true);
    world.answer.set(true);
}

fn is_at_rest(world: &World, when: &str) {
    assert_eq!(count(&world.running), 0, "{when}: work goes on");
    assert_eq!(count(&world.reserved), 0, "{when}: a reservation is kept");
}

/// An error whose chain of sources ends in the innermost one.
pub(crate) fn is_broken(mut error: &(dyn std::error::Error + 'static)) -> bool {
    loop {
        if error.is::<Broken>() {
            return true;
        }
        match error.source() {
            Some(source) => error = source,
            None => return false,
        }
    }
}

/// For services that answer instead of failing.
pub(crate) fn never(error: &Infallible) -> bool {
    match *error {}
}
