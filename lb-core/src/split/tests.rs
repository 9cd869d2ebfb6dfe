use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use http::{Request, Response, header};
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::Affinity;

const KEY: &str = "a secret of sixteen bytes";

fn arm(name: &'static str) -> Router {
    Router::new().route("/", get(move || async move { name }))
}

fn split(stable: u32, canary: u32) -> SplitBuilder<Router> {
    let split = Split::builder("test").arm("stable", stable, arm("stable"));
    split.arm("canary", canary, arm("canary"))
}

fn request(fields: &[(&str, &str)]) -> Request<Body> {
    let request = fields
        .iter()
        .fold(Request::builder(), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.body(Body::empty()).unwrap()
}

/// Which arm answered, and the cookie it set.
async fn ask(split: &Split<Router>, fields: &[(&str, &str)]) -> (String, Option<String>) {
    let response = split.clone().oneshot(request(fields)).await.unwrap();
    let cookie = response.headers().get(header::SET_COOKIE);
    let cookie = cookie.map(|cookie| {
        cookie
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    });
    let body = to_bytes(response.into_body(), 100).await.unwrap();
    (String::from_utf8(body.to_vec()).unwrap(), cookie)
}

#[tokio::test]
async fn each_arm_gets_its_share() {
    let split = split(80, 20).build().unwrap();
    let mut seen = BTreeMap::<_, u32>::new();
    for _ in 0..2_000 {
        *seen.entry(ask(&split, &[]).await.0).or_default() += 1;
    }
    assert!((330..470).contains(&seen["canary"]), "{seen:?}");
}

#[tokio::test]
async fn a_match_goes_before_the_draw_and_works_without_a_weight() {
    let split = split(1, 0)
        .when(Match::header("x-tester", "yes"), "canary")
        .when(Match::cookie("beta", "1"), "canary")
        .build()
        .unwrap();
    assert_eq!(ask(&split, &[("x-tester", "yes")]).await.0, "canary");
    assert_eq!(ask(&split, &[("cookie", "a=b; beta=1")]).await.0, "canary");
    assert_eq!(ask(&split, &[("x-tester", "no")]).await.0, "stable");
}

#[tokio::test]
async fn a_client_stays_in_its_group_until_a_rollback() {
    let split = split(1, 1)
        .sticky(Affinity::cookie("group", KEY))
        .build()
        .unwrap();
    let cookie = loop {
        let (arm, cookie) = ask(&split, &[]).await;
        if arm == "canary" {
            break cookie.expect("bound");
        }
    };
    for _ in 0..20 {
        let (arm, renewed) = ask(&split, &[("cookie", &cookie)]).await;
        assert_eq!((arm.as_str(), renewed), ("canary", None));
    }
    assert!(split.set_weight("canary", 0));
    let (arm, moved) = ask(&split, &[("cookie", &cookie)]).await;
    assert_eq!(arm, "stable");
    assert!(moved.is_some(), "bound to the arm that is left");
}

#[tokio::test]
async fn a_forged_group_is_drawn_again() {
    let split = split(1, 0)
        .sticky(Affinity::cookie("group", KEY))
        .build()
        .unwrap();
    for forged in ["group=canary", "group=", "group=AAAA"] {
        let (arm, cookie) = ask(&split, &[("cookie", forged)]).await;
        assert_eq!(arm, "stable");
        assert!(cookie.is_some());
    }
}

#[test]
fn what_cannot_work_is_refused() {
    let rule = |what| split(1, 1).when(what, "canary").build();
    assert!(split(0, 0).build().is_err());
    assert!(split(1, 1).arm("canary", 1, arm("x")).build().is_err());
    assert!(
        split(1, 1)
            .when(Match::cookie("a", "b"), "nobody")
            .build()
            .is_err()
    );
    assert!(rule(Match::header("not a name", "x")).is_err());
    assert!(
        split(1, 1)
            .sticky(Affinity::header("x-user"))
            .build()
            .is_err()
    );
    assert!(
        split(1, 1)
            .sticky(Affinity::cookie("a", "short"))
            .build()
            .is_err()
    );
    assert!(!split(1, 1).build().unwrap().set_weight("nobody", 1));
}

/// A shadow that tells what it was sent.
#[derive(Clone)]
struct Recorder(mpsc::UnboundedSender<(String, Vec<u8>)>);

impl tower::Service<Request<CopiedBody>> for Recorder {
    type Response = ();
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<CopiedBody>) -> Self::Future {
        let told = self.0.clone();
        Box::pin(async move {
            assert_eq!(request.headers()["x-lb-mirror"], "1");
            let path = request.uri().path().to_owned();
            let body = to_bytes(Body::new(request.into_body()), 1 << 20)
                .await
                .unwrap();
            told.send((path, body.to_vec())).unwrap();
            Ok(())
        })
    }
}

fn echo() -> Router {
    Router::new()
        .route("/", get(|| async { "empty" }))
        .route("/post", post(|body: String| async move { body }))
}

#[tokio::test]
async fn the_shadow_gets_a_copy_and_the_client_its_answer() {
    let (told, mut copies) = mpsc::unbounded_channel();
    let app = echo().layer(MirrorLayer::new(Recorder(told)).max_body_bytes(10));
    let post = |body: &'static str| Request::post("/post").body(Body::from(body)).unwrap();
    for (request, answer) in [
        (request(&[]), "empty"),
        (post("short"), "short"),
        (post("much too long"), "much too long"),
    ] {
        let response = app.clone().oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(body, answer);
    }
    assert_eq!(copies.recv().await.unwrap(), ("/".to_owned(), Vec::new()));
    assert_eq!(
        copies.recv().await.unwrap(),
        ("/post".to_owned(), b"short".to_vec())
    );
    tokio::task::yield_now().await;
    assert!(copies.try_recv().is_err(), "too long to be copied");
}

#[tokio::test(start_paused = true)]
async fn copies_are_bounded_in_number_and_time() {
    let running = Arc::new(Mutex::new(0));
    let count = Arc::clone(&running);
    let stuck = service_fn(move |_: Request<CopiedBody>| {
        *count.lock().unwrap() += 1;
        pending::<Result<(), Infallible>>()
    });
    let layer = MirrorLayer::new(stuck).max_in_flight(3);
    let inner =
        service_fn(|_: Request<TeeBody<Body>>| ready(Ok::<_, Infallible>(Response::new(()))));
    let service = layer.layer(inner);
    let fill = async || {
        for _ in 0..100 {
            service.clone().oneshot(request(&[])).await.unwrap();
            tokio::task::yield_now().await;
        }
        *running.lock().unwrap()
    };
    assert_eq!(fill().await, 3, "the rest is not copied");
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::task::yield_now().await;
    assert_eq!(fill().await, 6, "the first three were given up");
}

#[tokio::test]
async fn a_share_that_is_no_number_copies_nothing() {
    for (share, copied) in [(f64::NAN, 0), (-1.0, 0), (0.0, 0), (1.0, 20), (7.0, 20)] {
        let (told, mut copies) = mpsc::unbounded_channel();
        let app = echo().layer(MirrorLayer::new(Recorder(told)).share(share));
        for _ in 0..20 {
            app.clone().oneshot(request(&[])).await.unwrap();
            tokio::task::yield_now().await;
        }
        let all = std::iter::from_fn(|| copies.try_recv().ok());
        assert_eq!(all.count(), copied, "{share}");
    }
}

#[tokio::test]
async fn a_thousand_requests_share_one_split() {
    let split = split(1, 1).build().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let split = split.clone();
        tasks.spawn(async move { ask(&split, &[]).await.0 });
    }
    let answers = tasks.join_all().await;
    let canary = answers.iter().filter(|answer| *answer == "canary").count();
    assert!((400..600).contains(&canary), "{canary}");
}
