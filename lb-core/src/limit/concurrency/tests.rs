use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::clock;

type Body = Full<Bytes>;

fn request() -> Request<Body> {
    Request::new(Body::default())
}

/// A service that answers when the semaphore lets it.
fn held_back(
    turns: &Arc<Semaphore>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let turns = Arc::clone(turns);
    service_fn(move |_: Request<Body>| {
        let turns = Arc::clone(&turns);
        async move {
            if let Ok(turn) = turns.acquire().await {
                turn.forget();
            }
            Ok(Response::new(Body::from("done")))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_together_get_one_limit() {
    let turns = Arc::new(Semaphore::new(0));
    let layer = ConcurrencyLimitLayer::new(Fixed(10));
    let service = layer.layer(held_back(&turns));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        tasks.spawn(service.clone().oneshot(request()));
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(layer.in_flight(), 10);
    turns.add_permits(10);
    let answers = tasks.join_all().await;
    let refused = |answer: &Result<Response<_>, Infallible>| {
        answer
            .as_ref()
            .is_ok_and(|response| response.status() == StatusCode::SERVICE_UNAVAILABLE)
    };
    assert_eq!(answers.iter().filter(|answer| refused(answer)).count(), 990);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_in_flight_until_its_body_has_ended() {
    let turns = Arc::new(Semaphore::new(1));
    let layer = ConcurrencyLimitLayer::new(Fixed(1));
    let answer = layer
        .layer(held_back(&turns))
        .oneshot(request())
        .await
        .unwrap();
    assert_eq!(layer.in_flight(), 1);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!((body.as_ref(), layer.in_flight()), (&b"done"[..], 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_gives_its_permit_back() {
    let turns = Arc::new(Semaphore::new(0));
    let layer = ConcurrencyLimitLayer::queued(Fixed(1), 1, Duration::from_secs(1));
    let service = layer.layer(held_back(&turns));
    let running = service.clone().oneshot(request());
    let mut running = Box::pin(running);
    assert!(futures_poll(running.as_mut()).is_pending());
    let mut waiting = Box::pin(service.clone().oneshot(request()));
    assert!(futures_poll(waiting.as_mut()).is_pending());
    assert_eq!((layer.in_flight(), layer.waiting()), (1, 1));
    drop(waiting);
    drop(running);
    assert_eq!((layer.in_flight(), layer.waiting()), (0, 0));
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_next_turn_and_who_waits_too_long_is_told_so() {
    let turns = Arc::new(Semaphore::new(0));
    let layer = ConcurrencyLimitLayer::queued(Fixed(1), 2, Duration::from_secs(2));
    let service = layer.layer(held_back(&turns));
    let first = tokio::spawn(service.clone().oneshot(request()));
    let second = tokio::spawn(service.clone().oneshot(request()));
    tokio::time::advance(Duration::from_secs(1)).await;
    let third = tokio::spawn(service.clone().oneshot(request()));
    tokio::time::advance(Duration::from_millis(10)).await;
    turns.add_permits(1);
    drop(first.await.unwrap().unwrap());
    tokio::time::advance(Duration::from_secs(3)).await;
    let refused = third.await.unwrap().unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "3");
    turns.add_permits(1);
    assert_eq!(second.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_the_service_lower_the_limit_for_everybody() {
    let layer = ConcurrencyLimitLayer::new(Aimd::new(1..=100).starting_at(20));
    let service = layer.layer(service_fn(|_: Request<Body>| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut busy = Response::new(Body::default());
        *busy.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, Infallible>(busy)
    }));
    for _ in 0..10 {
        service.clone().oneshot(request()).await.unwrap();
    }
    assert!(layer.limit() < 10, "{}", layer.limit());
}

#[test]
fn one_overload_lowers_the_limit_once_however_many_requests_tell_of_it() {
    let now = clock::now();
    let mut limit = Aimd::new(1..=100).starting_at(50);
    for _ in 0..50 {
        limit.observe(Sample::new(now, Duration::from_millis(100), 50).overloaded());
    }
    assert_eq!(limit.limit(), 45);
}

#[test]
fn a_limit_that_is_not_used_does_not_grow() {
    let now = clock::now();
    let mut aimd = Aimd::new(1..=1_000).starting_at(50);
    let mut gradient = Gradient::new(1..=1_000).starting_at(50);
    for _ in 0..1_000 {
        let sample = Sample::new(now, Duration::from_millis(10), 3);
        aimd.observe(sample);
        gradient.observe(sample);
    }
    assert_eq!((aimd.limit(), gradient.limit()), (50, 50));
}

#[test]
fn slow_requests_one_by_one_do_not_lower_a_limit_that_nobody_uses() {
    let now = clock::now();
    let mut limit = Gradient::new(1..=200).starting_at(100);
    let mut see = |times: u32, millis: u64, in_flight: u32| {
        for _ in 0..times {
            limit.observe(Sample::new(now, Duration::from_millis(millis), in_flight));
        }
        limit.limit()
    };
    let calm = see(500, 10, 100);
    assert_eq!(see(50, 200, 1), calm);
    // The control: the same under load.
    assert!(see(50, 200, calm) < calm / 2);
}

#[test]
fn the_gradient_comes_back_after_an_overload() {
    let now = clock::now();
    let mut limit = Gradient::new(1..=200).starting_at(100);
    let mut see = |times: u32, millis: u64| {
        for _ in 0..times {
            let used = limit.limit();
            limit.observe(Sample::new(now, Duration::from_millis(millis), used));
        }
        limit.limit()
    };
    let calm = see(500, 10);
    let overloaded = see(50, 200);
    let recovered = see(500, 10);
    assert!(overloaded < calm / 4, "{calm} -> {overloaded}");
    assert!(recovered >= calm * 9 / 10, "{calm} -> {recovered}");
}

proptest! {
    /// Whatever happens, a limit stays within its bounds.
    #[test]
    fn limits_stay_within_their_bounds(
        low in 0_u32..50,
        width in 0_u32..100,
        history in prop::collection::vec((0_u64..5_000, 0_u32..500, any::<bool>()), 0..200),
    ) {
        let now = clock::now();
        let bounds = low..=low + width;
        let mut aimd = Aimd::new(bounds.clone());
        let mut gradient = Gradient::new(bounds);
        for (millis, in_flight, overloaded) in history {
            let sample = Sample::new(now, Duration::from_millis(millis), in_flight);
            let sample = if overloaded { sample.overloaded() } else { sample };
            aimd.observe(sample);
            gradient.observe(sample);
            for limit in [aimd.limit(), gradient.limit()] {
                prop_assert!((low.max(1)..=(low + width).max(1)).contains(&limit));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_and_the_queue_can_be_changed_while_requests_run() {
    let turns = Arc::new(Semaphore::new(0));
    let layer = ConcurrencyLimitLayer::new(Fixed(1));
    let service = layer.layer(held_back(&turns));
    let start = || Box::pin(service.clone().oneshot(request()));
    let mut running: Vec<_> = (0..4).map(|_| start()).collect();
    assert!(futures_poll(running[0].as_mut()).is_pending());
    layer.set(Fixed(2), 1, Duration::from_secs(1));
    assert!(futures_poll(running[1].as_mut()).is_pending(), "two are in");
    let mut late = start();
    assert!(futures_poll(late.as_mut()).is_pending(), "one waits");
    assert_eq!(
        (layer.limit(), layer.in_flight(), layer.waiting()),
        (2, 2, 1)
    );
    layer.set(Fixed(1), 0, Duration::ZERO);
    drop(running.swap_remove(0));
    assert!(futures_poll(late.as_mut()).is_pending(), "one is one again");
    let answer = start().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(layer.in_flight(), 1);
}
