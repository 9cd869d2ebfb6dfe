//! The admin service: what it shows, what it changes, what it refuses.
#![cfg(feature = "admin")]

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use lb_autoscale::actuator::DryRun;
use lb_autoscale::admin::Admin;
use lb_autoscale::record::Record;
use lb_autoscale::source::Gauges;
use lb_autoscale::spec::Metric;
use lb_autoscale::{Autoscaler, AutoscalerHandle, Spec, UnixMillis};
use serde_json::{Value, json};
use tower_service::Service;

async fn running() -> (AutoscalerHandle, Admin) {
    let gauges = Gauges::default();
    gauges.set("active", 31.0);
    let spec = Spec::builder("simulation")
        .replicas(3..=9)
        .metric(Metric::external("active").average_value(8.0))
        .build()
        .expect("a valid specification");
    // Every look at the clock is a second later than the one before.
    let seconds = AtomicI64::new(1_000_000);
    let handle = Autoscaler::new(spec, gauges, DryRun::new(3))
        // Relaxed: it only hands out numbers.
        .clock(move || UnixMillis::from_secs(seconds.fetch_add(1, Ordering::Relaxed)))
        .run();
    handle.next_decision().await;
    let admin = Admin::new(handle.control());
    (handle, admin)
}

async fn ask(admin: &mut Admin, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("x-author", "operator")
        .body(Full::new(body))
        .expect("a valid request");
    let Ok(answer) = admin.call(request).await;
    let status = answer.status();
    let Ok(body) = answer.into_body().collect().await;
    let body = body.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    (
        status,
        serde_json::from_slice(&body).unwrap_or(Value::String(text)),
    )
}

#[tokio::test(start_paused = true)]
async fn the_latest_decision_is_told_in_words_numbers_and_a_picture() {
    let (_handle, mut admin) = running().await;
    let (_, status) = ask(&mut admin, "GET", "/status", &Value::Null).await;
    assert_eq!(status["decisions"][0]["desired"], 4);
    assert_eq!(status["decisions"][0]["trace"][0]["rule"], "active");
    let (_, why) = ask(&mut admin, "GET", "/why", &Value::Null).await;
    assert_eq!(why, "3 -> 4: active asks for 4 (ValidMetricFound)");
    let (_, svg) = ask(&mut admin, "GET", "/why.svg", &Value::Null).await;
    assert!(svg.as_str().is_some_and(|svg| svg.starts_with("<svg")));
}

#[tokio::test(start_paused = true)]
async fn the_page_shows_the_latest_decision_or_the_one_asked_for() {
    let (handle, mut admin) = running().await;
    let first = handle.latest().expect("a decision was made").at.millis();
    handle.next_decision().await;
    let (_, latest) = ask(&mut admin, "GET", "/", &Value::Null).await;
    let latest = latest.as_str().unwrap_or_default();
    assert!(latest.contains("4 replicas</h1>"), "{latest}");
    assert!(
        latest.contains("asks for 4") && latest.contains("ReadyForNewScale"),
        "{latest}"
    );

    let (_, older) = ask(&mut admin, "GET", &format!("/?at={first}"), &Value::Null).await;
    let older = older.as_str().unwrap_or_default();
    assert!(
        older.contains("3 <span class=up>→ 4</span> replicas"),
        "{older}"
    );
    assert!(older.contains(&format!("?record={first}")), "{older}");
}

#[tokio::test(start_paused = true)]
async fn a_record_replays_to_the_same_decision_elsewhere() {
    let (handle, mut admin) = running().await;
    let first = handle.latest().expect("a decision was made");
    handle.next_decision().await;
    let at = first.at.millis();
    for path in [format!("/record?at={at}"), format!("/?record={at}")] {
        let (_, record) = ask(&mut admin, "GET", &path, &Value::Null).await;
        let record: Record = serde_json::from_value(record).expect("a record");
        assert_eq!(record.replay(), *first);
    }
    let (status, _) = ask(&mut admin, "GET", "/record?at=1", &Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn names_from_outside_cannot_become_markup() {
    let evil = "<script>alert(1)</script>";
    let metric = Metric::external(evil).average_value(8.0);
    let spec = Spec::builder(evil)
        .metric(metric)
        .build()
        .expect("a valid specification");
    let gauges = Gauges::default();
    gauges.set(evil, 90.0);
    let handle = Autoscaler::new(spec, gauges, DryRun::new(3)).run();
    handle.next_decision().await;
    let order = json!({ "kind": "freeze", "author": evil, "reason": evil, "seconds": 600 });
    let mut admin = Admin::new(handle.control());
    ask(&mut admin, "PUT", "/override", &order).await;
    handle.next_decision().await;
    let (_, page) = ask(&mut admin, "GET", "/", &Value::Null).await;
    let page = page.as_str().unwrap_or_default();
    assert!(
        page.contains("&lt;script&gt;") && !page.contains("<script"),
        "{page}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_what_if_changes_nothing() {
    let (handle, mut admin) = running().await;
    let before = handle.state();
    let inputs =
        json!({ "current": 4, "metrics": { "active": { "reading": { "values": [64_000] } } } });
    let (status, answer) = ask(&mut admin, "POST", "/what-if", &inputs).await;
    assert_eq!(
        (status, &answer["decision"]["desired"]),
        (StatusCode::OK, &json!(8))
    );
    assert_eq!(handle.state(), before);
}

#[tokio::test(start_paused = true)]
async fn an_override_is_in_force_at_once_audited_and_ended() {
    let (handle, mut admin) = running().await;
    let order =
        json!({ "kind": { "exact": 7 }, "author": "kim", "reason": "launch", "seconds": 600 });
    let (status, _) = ask(&mut admin, "PUT", "/override", &order).await;
    assert_eq!(status, StatusCode::OK);
    handle.next_decision().await;
    let latest = handle.latest().expect("a decision was made");
    assert_eq!(latest.desired, 7);
    assert!(latest.why().contains("launch by kim"), "{}", latest.why());

    let (status, _) = ask(&mut admin, "DELETE", "/override", &Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    handle.next_decision().await;
    assert!(handle.state().current_override().is_none());
    let (_, audit) = ask(&mut admin, "GET", "/audit", &Value::Null).await;
    assert_eq!(
        (&audit[1]["author"], &audit[0]["author"]),
        (&json!("kim"), &json!("operator"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_specification_is_checked_before_it_is_in_force() {
    let (handle, mut admin) = running().await;
    let (_, mut spec) = ask(&mut admin, "GET", "/spec", &Value::Null).await;
    spec["min_replicas"] = json!(5);
    let (status, _) = ask(&mut admin, "PUT", "/spec", &spec).await;
    assert_eq!((status, handle.spec().min_replicas()), (StatusCode::OK, 5));

    spec["max_replicas"] = json!(1);
    let (status, refused) = ask(&mut admin, "PUT", "/spec", &spec).await;
    assert_eq!(
        (status, &refused["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("maxReplicas"))
    );
    assert_eq!(handle.spec().max_replicas(), 9);
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_with_their_own_status() {
    let (_handle, mut admin) = running().await;
    let anonymous = json!({ "kind": "freeze", "author": " ", "reason": "x", "seconds": 5 });
    let huge = Value::String("x".repeat(2 << 20));
    for (method, path, body, expected) in [
        ("GET", "/nowhere", &Value::Null, 404),
        ("POST", "/status", &Value::Null, 404),
        ("POST", "/what-if", &json!("nonsense"), 400),
        ("PUT", "/override", &json!({ "kind": "exact" }), 400),
        ("PUT", "/override", &anonymous, 422),
        ("POST", "/what-if", &huge, 413),
    ] {
        let (status, body) = ask(&mut admin, method, path, body).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {body}");
        assert!(body["error"].is_string(), "{body}");
    }
}
