//! Who this is, and its metrics. Probes are answered by `lb-registry`'s health
//! routes, which stand in front of the application.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lb_gpu::exporter::Exporter;
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;
use crate::{clock, observe};

pub(super) async fn whoami(State(app): State<App>) -> Json<Value> {
    Json(json!({ "instance": app.shared.id, "pid": std::process::id() }))
}

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let Some(recorder) = &app.shared.metrics else {
        let hint = "run the service as its own process";
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no metrics are recorded",
            hint,
        ));
    };
    observe::load(app.active_work(), app.shared.streams.open());
    app.shared.jobs.publish_metrics();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let gpus = Exporter::default().render(&app.shared.gpus.latest(), clock::now());
    Ok((kind, recorder.render() + &gpus).into_response())
}
