//! `POST /simulate`: a small run whose result is the answer.
//!
//! Not idempotent and never repeated by anyone: a request that gets no answer
//! is lost, which is what makes it a good witness.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::App;
use super::body;
use super::problem::Problem;
use super::simulations::tenant;
use crate::gpu::{NoTurn, Work};
use crate::jobs::Tenant;
use montecarlo::engine::{Control, CpuEngine, Engine as _, EngineError};
use montecarlo::spec::{Plan, SpecError};
use montecarlo::summary::Summary;

/// Most iterations of a direct run.
const MAX_ITERATIONS: u64 = 1_000_000;
/// Requests that may wait for their turn.
const MAX_WAITING: usize = 64;
/// Longest time from the request to its answer.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Admission of direct runs: so many at a time, with those that wait for their turn.
#[derive(Debug)]
pub(super) struct Direct {
    room: Arc<Semaphore>,
    admitted: usize,
}

impl Direct {
    pub(super) fn new(running: usize) -> Self {
        let admitted = running + MAX_WAITING;
        Self {
            room: Arc::new(Semaphore::new(admitted)),
            admitted,
        }
    }

    pub(super) fn active(&self) -> usize {
        self.admitted - self.room.available_permits()
    }
}

/// Stops the run when the request is dropped because its client went away.
struct StopOnDrop(Arc<Control>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(super) async fn simulate(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    let direct = &app.shared.direct;
    let _room = Arc::clone(&direct.room)
        .try_acquire_owned()
        .map_err(|_| Problem::busy(format!("{MAX_WAITING} direct runs are waiting")))?;
    let tenant = tenant(request.headers())?;
    let spec = body::spec(request).await?;
    if spec.iterations > MAX_ITERATIONS {
        return Err(too_many(spec.iterations).into());
    }
    let run = in_turn(&app, &tenant, Plan::new(&spec)?);
    let late = |_| Problem::busy(format!("no result within {} s", MAX_TIME.as_secs()));
    let summary = timeout(MAX_TIME, run).await.map_err(late)??;
    Ok(Json(json!({ "instance": app.shared.id, "result": summary })).into_response())
}

/// In the same fair turns as jobs. Its end, however it comes, ends the turn.
async fn in_turn(app: &App, tenant: &Tenant, plan: Plan) -> Result<Summary, Problem> {
    let turn = app.shared.gpus.turn(tenant, Work::Direct).await?;
    tokio::select! {
        biased;
        () = turn.revoked() => Err(NoTurn::Lost.into()),
        summary = compute(plan) => Ok(summary?),
    }
}

/// One thread is enough for a small run, and leaves the other cores to the jobs.
async fn compute(plan: Plan) -> Result<Summary, EngineError> {
    let control = Arc::new(Control::default());
    let _stop = StopOnDrop(Arc::clone(&control));
    let run = spawn_blocking(move || CpuEngine::new(1).run(&plan, &control));
    run.await.unwrap_or(Err(EngineError::Broken))
}

fn too_many(iterations: u64) -> SpecError {
    SpecError {
        field: "iterations".into(),
        message: format!("{iterations} iterations are too many for a direct run"),
        hint: "use at most 1000000 here, or submit a job with PUT /simulations/{id}".into(),
    }
}
