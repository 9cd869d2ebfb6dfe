//! `/simulations/{id}`: submit, read, stop.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::App;
use super::body;
use super::problem::Problem;
use crate::jobs::{Job, JobId, Submitted, Tenant};
use crate::progress::Message;

/// Names the tenant of a job or a direct run.
pub const TENANT: HeaderName = HeaderName::from_static("x-tenant");

pub(super) type IdInPath = Result<Path<String>, PathRejection>;

/// Where a job stands.
#[derive(Debug, Serialize)]
struct View {
    id: String,
    #[serde(flatten)]
    latest: Message,
}

/// `PUT`.
pub(super) async fn submit(
    State(app): State<App>,
    id: IdInPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = parse(id)?;
    let tenant = tenant(request.headers())?;
    let spec = body::spec(request).await?;
    let status = match app.shared.jobs.submit_for(tenant, &id, &spec)? {
        Submitted::Accepted => StatusCode::ACCEPTED,
        Submitted::Known => StatusCode::OK,
    };
    let job = app.shared.jobs.find(&id).ok_or_else(Problem::unknown_job)?;
    let progress = format!("/simulations/{id}/progress");
    Ok((status, [(header::LOCATION, progress)], Json(view_of(&job))).into_response())
}

/// `GET`.
pub(super) async fn view(State(app): State<App>, id: IdInPath) -> Result<Response, Problem> {
    Ok(Json(view_of(&*find(&app, id)?)).into_response())
}

/// `DELETE`: answers when the job has ended, which is at once.
pub(super) async fn cancel(State(app): State<App>, id: IdInPath) -> Result<Response, Problem> {
    let job = find(&app, id)?;
    job.cancel();
    job.wait_for_end().await;
    Ok(Json(view_of(&job)).into_response())
}

pub(super) fn find(app: &App, id: IdInPath) -> Result<Arc<Job>, Problem> {
    app.shared
        .jobs
        .find(&parse(id)?)
        .ok_or_else(Problem::unknown_job)
}

/// On whose behalf, as far as it is said. Who may say it is decided in front of this instance.
pub(super) fn tenant(headers: &HeaderMap) -> Result<Tenant, Problem> {
    let Some(name) = headers.get(TENANT) else {
        return Ok(Tenant::default());
    };
    let name = name.to_str().ok().and_then(Tenant::parse);
    name.ok_or_else(Problem::bad_tenant)
}

fn parse(id: IdInPath) -> Result<JobId, Problem> {
    let Path(text) = id.map_err(|_| Problem::bad_id())?;
    JobId::parse(&text).ok_or_else(Problem::bad_id)
}

fn view_of(job: &Job) -> View {
    View {
        id: job.id().to_string(),
        latest: job.log().latest(),
    }
}
