//! Sessions whose endpoint has too much to do for the moment.

use super::*;
use crate::affinity::OnDown;

/// Two endpoints, one client that is bound to the first, which is not ready any more:
/// its next answer, and how often the second endpoint was called for it.
async fn not_ready(on_down: OnDown) -> (Response<Body>, u32) {
    let pool = Pool::builder("app")
        .endpoints(["a", "b"].map(|name| EndpointSpec::new(name, "local://x")))
        .affinity(Affinity::cookie("lb", "a secret of sixteen bytes").on_down(on_down))
        .build()
        .unwrap();
    let (a, b) = (Gated::new("a", true), Gated::new("b", true));
    let (bound, other) = (a.clone(), b.clone());
    let service = Balance::new(pool, move |endpoint| match endpoint.id().as_str() {
        "a" => a.clone(),
        _ => b.clone(),
    });
    assert!(service.pool().set_draining(&"b".into(), true));
    let first = service.clone().oneshot(request()).await.unwrap();
    let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie: http::HeaderValue = cookie.split(';').next().unwrap().parse().unwrap();
    assert!(service.pool().set_draining(&"b".into(), false));

    let again = || {
        let mut again = request();
        again.headers_mut().insert(header::COOKIE, cookie.clone());
        service.clone().oneshot(again)
    };
    // From now on this thread knows the session.
    assert_eq!(text(again().await.unwrap()).await, "a");
    bound.open.store(false, Ordering::SeqCst);
    let answer = again().await.unwrap().map(Body::new);
    (answer, other.calls.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn one_that_must_stay_goes_nowhere_else() {
    let (answer, calls) = not_ready(OnDown::Fail).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(calls, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_may_move_is_served_elsewhere_and_stays_bound() {
    let (answer, calls) = not_ready(OnDown::Rebind).await;
    assert_eq!((answer.status(), calls), (StatusCode::OK, 1));
    assert!(!answer.headers().contains_key(header::SET_COOKIE));
}
