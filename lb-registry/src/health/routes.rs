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
