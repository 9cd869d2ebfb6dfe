//! `/simulations/{id}`: submit, read, cancel.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use simulation::jobs::Tenant;
use simulation::service::TENANT;

use super::id::Id;
use super::{Api, Problem, SPEC_BYTES};
use crate::ledger::{JobView, LedgerError, Submitted};

/// How many jobs one list shows.
const LISTED: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SubmitQuery {
    /// Whether a result that was computed before will do.
    reuse: bool,
}

/// `PUT`: 202 for a new job, 200 for one that is known, 409 if the id is taken.
pub(super) async fn submit(
    State(api): State<Api>,
    Id(id): Id,
    headers: HeaderMap,
    query: Result<Query<SubmitQuery>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let tenant = tenant(&headers)?;
    let Query(query) =
        query.map_err(|error| bad_query(&error, "the only parameter is reuse=true"))?;
    let spec = (api.check)(&body.map_err(|error| bad_body(&error))?)?;
    let known = if query.reuse {
        api.results.known(&spec)
    } else {
        None
    };
    let submitted = match known {
        Some(result) => api.jobs.submit_known(id, spec, result).await?,
        None => api.jobs.submit(id, spec, tenant).await?,
    };
    let (status, view) = match submitted {
        Submitted::New(view) => (StatusCode::ACCEPTED, view),
        Submitted::Known(view) => (StatusCode::OK, view),
    };
    let progress = format!("/simulations/{}/progress", view.id);
    Ok((status, [(header::LOCATION, progress)], Json(view)).into_response())
}

/// On whose behalf, by the header `x-tenant`. From clients it does not get this far, see
/// [`tenants`](crate::wiring::tenants).
fn tenant(headers: &HeaderMap) -> Result<Tenant, Problem> {
    let Some(name) = headers.get(TENANT) else {
        return Ok(Tenant::default());
    };
    let name = name.to_str().ok().and_then(Tenant::parse);
    name.ok_or_else(|| {
        let hint = "1 to 64 characters out of A-Z, a-z, 0-9, _, - and .";
        Problem::new(StatusCode::BAD_REQUEST, "no name of a tenant", hint).field("x-tenant")
    })
}

/// `GET`: where the job stands.
pub(super) async fn view(State(api): State<Api>, Id(id): Id) -> Result<Json<JobView>, Problem> {
    let view = api
        .jobs
        .ledger()
        .view(&id)
        .await
        .ok_or(LedgerError::Unknown)?;
    Ok(Json(view))
}

/// `GET .../result`: the result alone.
pub(super) async fn result(State(api): State<Api>, Id(id): Id) -> Result<Response, Problem> {
    let Some(result) = api.results.read(&id).await? else {
        let hint = "follow /simulations/{id}/progress until it has finished";
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "there is no result",
            hint,
        ));
    };
    Ok(Json(result).into_response())
}

/// `DELETE`: ends the job; a job that has ended stays as it ended.
pub(super) async fn cancel(State(api): State<Api>, Id(id): Id) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.jobs.cancel(&id).await?))
}

/// `GET /simulations`: the newest jobs.
pub(super) async fn list(State(api): State<Api>) -> Response {
    let jobs = api.jobs.ledger().newest(LISTED).await;
    Json(json!({ "active": api.jobs.ledger().active(), "newest": jobs })).into_response()
}

pub(super) fn bad_query(error: &QueryRejection, hint: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error.body_text(), hint).field("query")
}

fn bad_body(error: &BytesRejection) -> Problem {
    let hint = format!("a specification is a JSON object of at most {SPEC_BYTES} bytes");
    Problem::new(error.status(), error.body_text(), hint).field("body")
}
