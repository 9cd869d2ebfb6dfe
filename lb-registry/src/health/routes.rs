//! The routes over HTTP.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use serde_json::json;

use super::{HealthRoutes, Readiness};

pub(super) fn router(health: HealthRoutes) -> Router {
    Router::new()
        .route(
            "/health",
            get(async || answer(true, &json!({"status": "healthy"}))),
        )
        .route("/health/detailed", get(detailed))
        .route("/ready", get(ready))
        .route("/startup", get(startup))
        .with_state(health)
}

async fn detailed(State(health): State<HealthRoutes>) -> Response {
    let verdict = *health.verdict();
    let healthy = verdict.is_healthy();
    let body = json!({
        "status": if healthy { "healthy" } else { "unhealthy" },
        "metrics": verdict.latest(),
        "thresholds": verdict.thresholds(),
    });
    answer(healthy, &body)
}

async fn ready(State(health): State<HealthRoutes>) -> Response {
    let readiness = health.readiness().await;
    let body = serde_json::to_value(&readiness).unwrap_or_default();
    answer(readiness == Readiness::Ready, &body)
}

async fn startup(State(health): State<HealthRoutes>) -> Response {
    let started = health.is_started();
    answer(
        started,
        &json!({"status": if started { "started" } else { "starting" }}),
    )
}

fn answer(good: bool, body: &serde_json::Value) -> Response {
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower_service::Service;

    use super::*;
    use crate::health::verdict::Usage;

    async fn get(health: &HealthRoutes, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        // Without the background task: what is observed is what the test says.
        let response = router(health.clone()).call(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_machine_that_stays_too_busy_is_503_and_recovers() {
        for busy in [
            Usage {
                cpu_percent: Some(90.0),
                ..Usage::default()
            },
            Usage {
                memory_percent: Some(95.0),
                ..Usage::default()
            },
            Usage {
                disk_percent: Some(99.0),
                ..Usage::default()
            },
        ] {
            let health = HealthRoutes::default();
            let (status, body) = get(&health, "/health/detailed").await;
            assert_eq!(
                (status, &body["status"]),
                (StatusCode::OK, &json!("healthy"))
            );
            assert_eq!(
                body["metrics"]["cpu_percent"],
                Value::Null,
                "nothing is known yet"
            );
            for _ in 0..3 {
                health.observe(busy);
            }
            let (status, body) = get(&health, "/health/detailed").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(body["status"], "unhealthy");
            assert_eq!(body["metrics"], serde_json::to_value(busy).unwrap());
            assert_eq!(body["thresholds"]["cpu_percent"], 90.0);
            // Busy is not dead.
            assert_eq!(get(&health, "/health").await.0, StatusCode::OK);
            for _ in 0..2 {
                health.observe(Usage {
                    cpu_percent: Some(89.9),
                    ..Usage::default()
                });
            }
            assert_eq!(get(&health, "/health/detailed").await.0, StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn readiness_follows_the_start_the_dependencies_and_the_drain() {
        let health = HealthRoutes::default()
            .dependency("database", || async { Err::<(), _>("no connection") });
        assert_eq!(
            get(&health, "/startup").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        health.set_started();
        assert_eq!(get(&health, "/startup").await.0, StatusCode::OK);
        let (status, body) = get(&health, "/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body,
            json!({"status": "unready", "failed": ["database: no connection"]})
        );
        health.set_draining();
        assert_eq!(
            get(&health, "/ready").await.1,
            json!({"status": "draining"})
        );
    }
}
