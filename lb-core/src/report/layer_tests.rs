use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

use super::*;

type Body = Full<Bytes>;

fn fresh() -> ReportLayer {
    ReportLayer::new().refresh(Duration::ZERO)
}

async fn answer(status: StatusCode) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::from("done"));
    *response.status_mut() = status;
    Ok(response)
}

async fn report_of(layer: &ReportLayer, status: StatusCode) -> LoadReport {
    let service = layer.layer(service_fn(move |_: Request<Body>| answer(status)));
    let response = service
        .oneshot(Request::new(Body::default()))
        .await
        .unwrap();
    LoadReport::from_headers(response.headers())
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn work_counts_until_the_body_has_ended() {
    let layer = fresh().capacity(4);
    let service = layer.layer(service_fn(|_: Request<Body>| answer(StatusCode::OK)));
    let held = service
        .clone()
        .oneshot(Request::new(Body::default()))
        .await
        .unwrap();
    let report = report_of(&layer, StatusCode::OK).await;
    assert_eq!(report.active_work(), Some(2.0), "the one held and itself");
    assert_eq!(report.application_utilization, Some(0.5));
    drop(held);
    assert_eq!(layer.report().active_work(), Some(0.0));
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_a_thousand_units_of_work() {
    let layer = fresh();
    let service = layer.layer(service_fn(|_: Request<Body>| answer(StatusCode::OK)));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        requests.spawn(service.clone().oneshot(Request::new(Body::default())));
    }
    let held = requests.join_all().await;
    assert_eq!(layer.report().active_work(), Some(1_000.0));
    drop(held);
    assert_eq!(layer.report().active_work(), Some(0.0));
}

#[tokio::test]
async fn clones_of_a_layer_are_one_instance_as_the_routes_of_a_router_are() {
    let layer = fresh();
    let (one, other) = (layer.clone(), layer.clone());
    let service = one.layer(service_fn(|_: Request<Body>| answer(StatusCode::OK)));
    let _held = service
        .oneshot(Request::new(Body::default()))
        .await
        .unwrap();
    let report = report_of(&other, StatusCode::OK).await;
    assert_eq!(report.active_work(), Some(2.0), "the one held and itself");
    assert_eq!(other.capacity(4).report().active_work(), Some(0.0));
}

#[tokio::test]
async fn what_a_closure_knows_wins() {
    let layer = fresh()
        .capacity(10)
        .active_work(|| Some(5.0))
        .utilization("gpu", || Some(0.9))
        .utilization("tpu", || None)
        .named_metric("queue", || Some(7.0));
    let report = report_of(&layer, StatusCode::OK).await;
    assert_eq!(report.active_work(), Some(5.0));
    assert_eq!(report.application_utilization, Some(0.5));
    assert_eq!(report.utilization.keys().collect::<Vec<_>>(), ["gpu"]);
    assert_eq!(report.named_metrics["queue"], 7.0);
}

#[tokio::test(start_paused = true)]
async fn rates_are_per_second() {
    let layer = fresh();
    report_of(&layer, StatusCode::OK).await;
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..9 {
            report_of(&layer, StatusCode::OK).await;
        }
        report_of(&layer, StatusCode::BAD_GATEWAY).await;
    }
    tokio::time::advance(Duration::from_millis(999)).await;
    let report = layer.report();
    let rps = report.rps_fractional.unwrap();
    let eps = report.eps.unwrap();
    assert!((9.0..=11.0).contains(&rps), "{rps}");
    assert!((0.9..=1.1).contains(&eps), "{eps}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_at_the_start_is_no_rate() {
    let layer = fresh();
    assert_eq!(layer.report().rps_fractional, None);
    tokio::time::advance(Duration::from_millis(1)).await;
    for _ in 0..3 {
        let report = report_of(&layer, StatusCode::OK).await;
        assert_eq!((report.rps_fractional, report.eps), (None, None));
    }
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(layer.report().rps_fractional, Some(3.0));
}

#[tokio::test(start_paused = true)]
async fn after_a_burst_and_a_pause_the_fourth_answer_at_the_latest_brings_news() {
    let layer = ReportLayer::new();
    let brings = || async {
        let service = layer.layer(service_fn(|_: Request<Body>| answer(StatusCode::OK)));
        let answer = service.oneshot(Request::new(Body::default()));
        LoadReport::from_headers(answer.await.unwrap().headers()).unwrap()
    };
    let mut without = 0;
    for _ in 0..1_001 {
        without += u32::from(brings().await.is_none());
    }
    // Of 1,001 the first 128, and one in four of those that follow.
    assert_eq!(without, 873 - 873 / 4);
    tokio::time::advance(Duration::from_secs(60)).await;
    let mut missed = 0;
    let report = loop {
        match brings().await {
            Some(report) => break report,
            None => missed += 1,
        }
    };
    assert!(missed < 4, "{missed}");
    assert!(report.rps_fractional.unwrap() < 17.0, "of the minute");
}

#[tokio::test(start_paused = true)]
async fn a_report_is_made_at_most_ten_times_a_second() {
    let made = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::Arc::clone(&made);
    let layer = ReportLayer::new().named_metric("made", move || {
        Some(f64::from(
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
        ))
    });
    for _ in 0..100 {
        report_of(&layer, StatusCode::OK).await;
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let made = made.load(std::sync::atomic::Ordering::SeqCst);
    assert!((9..=11).contains(&made), "{made}");
}
