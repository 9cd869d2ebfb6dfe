//! The GPUs of this instance, for people who ask why.

use axum::Json;
use axum::extract::State;
use lb_gpu::fair::Explanation;
use lb_gpu::report::GpuReport;

use super::App;
use crate::clock;

pub(super) async fn report(State(app): State<App>) -> Json<GpuReport> {
    Json(GpuReport::new(&app.shared.gpus.latest(), clock::now()))
}

pub(super) async fn turns(State(app): State<App>) -> Json<Vec<Explanation>> {
    Json(app.shared.gpus.turns().explain_all())
}
