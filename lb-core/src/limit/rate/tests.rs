use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;

type Body = Full<Bytes>;

fn ten_per_second() -> Quota {
    Quota::new(10, Duration::from_secs(1)).unwrap()
}

async fn answer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::default()))
}

fn request_of(client: u32) -> Request<Body> {
    let mut request = Request::new(Body::default());
    request.extensions_mut().insert(client);
    request
}

fn client_of(head: &Parts) -> Option<u32> {
    head.extensions.get().copied()
}

/// How many of `requests`, one task and one clone of the service each, are let through.
async fn passed<S, F>(requests: usize, service_of: F) -> usize
where
    F: Fn() -> S,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..requests {
        tasks.spawn(service_of().oneshot(request_of(1)));
    }
    let answers = tasks.join_all().await;
    let is_ok = |answer: &Result<Response<Body>, Infallible>| {
        answer
            .as_ref()
            .is_ok_and(|response| response.status() == StatusCode::OK)
    };
    answers.iter().filter(|answer| is_ok(answer)).count()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_together_get_one_burst() {
    let layer = RateLimitLayer::new(ten_per_second(), client_of).unwrap();
    let service = layer.layer(service_fn(answer));
    assert_eq!(passed(1_000, || service.clone()).await, 10);
}

/// The control of the test above: a limiter per clone lets everything through, and is seen.
#[tokio::test(start_paused = true)]
async fn a_limiter_per_connection_would_let_all_of_them_through() {
    let layer = || RateLimitLayer::new(ten_per_second(), client_of).unwrap();
    assert_eq!(
        passed(1_000, || layer().layer(service_fn(answer))).await,
        1_000
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_as_long_as_told_is_let_through() {
    let limiter = RateLimiter::new(ten_per_second().burst(1).unwrap()).unwrap();
    assert!(matches!(
        limiter.check(&"a"),
        Verdict::Allowed { remaining: 0, .. }
    ));
    let Verdict::Refused { retry_after, .. } = limiter.check(&"a") else {
        panic!("one too many")
    };
    tokio::time::advance(retry_after).await;
    assert!(matches!(limiter.check(&"a"), Verdict::Allowed { .. }));
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_limit_each_other() {
    let limiter = RateLimiter::new(ten_per_second().burst(1).unwrap()).unwrap();
    assert!(matches!(limiter.check(&1), Verdict::Allowed { .. }));
    assert!(matches!(limiter.check(&2), Verdict::Allowed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_how_much_is_allowed_and_when_to_come_back() {
    let quota = Quota::new(2, Duration::from_secs(10))
        .unwrap()
        .burst(1)
        .unwrap();
    let service = RateLimitLayer::new(quota, client_of)
        .unwrap()
        .layer(service_fn(answer));
    let first = service.clone().oneshot(request_of(1)).await.unwrap();
    assert_eq!(first.headers()["ratelimit"], "\"default\";r=0;t=5");
    let second = service.clone().oneshot(request_of(1)).await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.headers()["retry-after"], "5");
    assert_eq!(second.headers()["ratelimit-policy"], "\"default\";q=2;w=10");
}

#[tokio::test(start_paused = true)]
async fn of_two_limits_the_one_that_refuses_has_the_word() {
    let strict = Quota::new(1, Duration::from_secs(10)).unwrap();
    let inner = RateLimitLayer::new(strict, client_of).unwrap();
    let outer = RateLimitLayer::new(ten_per_second(), client_of).unwrap();
    let service = outer.layer(inner.layer(service_fn(answer)));
    let first = service.clone().oneshot(request_of(1)).await.unwrap();
    assert_eq!(first.headers()["ratelimit"], "\"default\";r=9;t=1");
    let second = service.clone().oneshot(request_of(1)).await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.headers()["ratelimit"], "\"default\";r=0;t=10");
    assert_eq!(second.headers()["ratelimit-policy"], "\"default\";q=1;w=10");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_key_is_not_limited() {
    let quota = ten_per_second().burst(1).unwrap();
    let service = RateLimitLayer::new(quota, client_of)
        .unwrap()
        .layer(service_fn(answer));
    for _ in 0..5 {
        let answer = service
            .clone()
            .oneshot(Request::new(Body::default()))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_quota_holds_from_the_next_request_on() {
    let limiter = RateLimiter::new(ten_per_second()).unwrap();
    limiter
        .set_quota(ten_per_second().burst(1).unwrap())
        .unwrap();
    assert!(matches!(limiter.check(&1), Verdict::Allowed { .. }));
    assert!(matches!(limiter.check(&1), Verdict::Refused { .. }));
}

/// How many of twenty requests of this key pass.
fn pass_of_twenty(limiter: &RateLimiter<&'static str>, key: &'static str) -> usize {
    let is_allowed = |_: &u32| matches!(limiter.check(&key), Verdict::Allowed { .. });
    (0..20).filter(is_allowed).count()
}

#[tokio::test(start_paused = true)]
async fn a_new_quota_forgives_nobody_what_it_has_used() {
    let second = Duration::from_secs(1);
    let limiter = RateLimiter::new(ten_per_second()).unwrap();
    assert_eq!(pass_of_twenty(&limiter, "a"), 10);
    for _ in 0..5 {
        limiter.set_quota(ten_per_second()).unwrap();
        assert_eq!(pass_of_twenty(&limiter, "a"), 0, "the same quota again");
    }
    limiter.set_quota(Quota::new(15, second).unwrap()).unwrap();
    assert_eq!(pass_of_twenty(&limiter, "a"), 5, "what was added");
    // Less than what is used already: one request's time from now it may come back.
    limiter.set_quota(Quota::new(1, second).unwrap()).unwrap();
    assert_eq!(pass_of_twenty(&limiter, "a"), 0);
    assert_eq!(pass_of_twenty(&limiter, "b"), 1, "somebody new");
    tokio::time::advance(second).await;
    assert_eq!(pass_of_twenty(&limiter, "a"), 1);
    // What has drained is forgotten.
    tokio::time::advance(10 * second).await;
    limiter.set_quota(ten_per_second()).unwrap();
    assert_eq!(limiter.keys(), 0);
    assert_eq!(pass_of_twenty(&limiter, "a"), 10);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_takes_no_memory_and_frees_no_known_client() {
    let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
    let limiter = RateLimiter::with_capacity(quota, 1_600).unwrap();
    assert!(matches!(limiter.check(&u64::MAX), Verdict::Allowed { .. }));
    for key in 0..100_000_u64 {
        let _ = limiter.check(&key);
    }
    assert!(limiter.keys() <= 1_600, "{}", limiter.keys());
    assert!(matches!(limiter.check(&u64::MAX), Verdict::Refused { .. }));
}

#[tokio::test(start_paused = true)]
async fn keys_that_have_refilled_make_room() {
    let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
    let limiter = RateLimiter::with_capacity(quota, 160).unwrap();
    for key in 0..10_000_u64 {
        let _ = limiter.check(&key);
    }
    tokio::time::advance(Duration::from_secs(120)).await;
    assert!(matches!(limiter.check(&20_000), Verdict::Allowed { .. }));
    assert!(limiter.keys() < 160, "{}", limiter.keys());
}

#[test]
fn quotas_that_cannot_be_kept_are_refused() {
    let second = Duration::from_secs(1);
    assert_eq!(
        Quota::new(0, second),
        Err(QuotaError::Zero { what: "requests" })
    );
    assert_eq!(
        Quota::new(1, Duration::ZERO),
        Err(QuotaError::Zero { what: "period" })
    );
    assert!(matches!(
        Quota::new(u32::MAX, second),
        Err(QuotaError::OutOfRange { .. })
    ));
    assert!(matches!(
        Quota::new(1, second * 86_400).and_then(|quota| quota.burst(u32::MAX)),
        Err(QuotaError::OutOfRange { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Over any history no window of length `w` passes more than `burst + w / interval` requests,
    /// and a refused client that waits as told is let through.
    #[test]
    fn no_window_passes_more_than_its_share(
        burst in 1_u32..8,
        pauses_ms in prop::collection::vec(0_u64..400, 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let passed_at_ms = runtime.block_on(async {
            let limiter = RateLimiter::new(ten_per_second().burst(burst).unwrap()).unwrap();
            let (mut now_ms, mut passed) = (0, Vec::new());
            for pause in pauses_ms {
                tokio::time::advance(Duration::from_millis(pause)).await;
                now_ms += pause;
                if matches!(limiter.check(&()), Verdict::Allowed { .. }) {
                    passed.push(now_ms);
                }
            }
            passed
        });
        for (first, from) in passed_at_ms.iter().enumerate() {
            for (last, to) in passed_at_ms.iter().enumerate().skip(first) {
                let allowed = u64::from(burst) + (to - from) / 100;
                prop_assert!((last - first + 1) as u64 <= allowed, "{passed_at_ms:?}");
            }
        }
    }
}
