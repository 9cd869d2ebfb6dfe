//! What operators and probes ask.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;
use crate::observe;

pub(super) async fn whoami(State(app): State<App>) -> Json<Value> {
    Json(json!({ "instance": app.shared.id, "pid": std::process::id() }))
}

/// Alive: always, while it can answer.
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

pub(super) async fn detailed(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "status": if app.shared.draining.is_cancelled() { "draining" } else { "ok" },
        "instance": app.shared.id,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "active_work": app.active_work(),
        "capacity": app.shared.jobs.capacity(),
        "open_streams": app.shared.streams.open(),
    }))
}

/// Ready for new work: 503 as soon as it drains.
pub(super) async fn ready(State(app): State<App>) -> Response {
    if app.shared.draining.is_cancelled() {
        let hint = "use another instance";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Problem::new(status, "this instance is shutting down", hint).into_response();
    }
    Json(json!({ "status": "ready" })).into_response()
}

pub(super) async fn startup() -> Json<Value> {
    Json(json!({ "status": "started" }))
}

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let Some(handle) = &app.shared.metrics else {
        let hint = "run the service as its own process";
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no metrics are recorded",
            hint,
        ));
    };
    observe::load(app.active_work(), app.shared.streams.open());
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((text, handle.render()).into_response())
}
