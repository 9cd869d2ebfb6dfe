//! Brings one job from the queue to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Job, Shared};
use crate::gpu::Work;
use crate::observe;
use crate::progress::Outcome;
use montecarlo::engine::EngineError;
use montecarlo::summary::Summary;

/// How often a running job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn drive(shared: Arc<Shared>, job: Arc<Job>) {
    let outcome = run(&shared, &job).await;
    observe::job_ended(&outcome, job.control().done());
    // First out of the count of active jobs, then the news: whoever hears of
    // the end may submit at once.
    shared.table.retire(&job).await;
    job.end(outcome);
}

async fn run(shared: &Shared, job: &Arc<Job>) -> Outcome {
    let turn = tokio::select! {
        biased;
        () = job.cancelled() => return Outcome::Cancelled,
        turn = shared.gpus.turn(job.tenant(), Work::Job) => turn,
    };
    // Without its GPU this instance gives the job up; another one may take it.
    let Ok(turn) = turn else {
        return Outcome::Cancelled;
    };
    job.start();
    let limit = shared.limits.run_time;
    let run = async {
        tokio::select! {
            biased;
            () = turn.revoked() => {
                tracing::warn!(id = %job.id(), device = %turn.device(), "the device is lost");
                job.cancel();
                Outcome::Cancelled
            }
            outcome = compute(shared, job) => outcome,
        }
    };
    match timeout(limit, run).await {
        Ok(outcome) => outcome,
        Err(_) => {
            job.cancel();
            Outcome::Failed(format!(
                "the run took longer than {} s; ask for fewer iterations",
                limit.as_secs()
            ))
        }
    }
}

async fn compute(shared: &Shared, job: &Arc<Job>) -> Outcome {
    let engine = Arc::clone(&shared.engine);
    let work = Arc::clone(job);
    let mut run = spawn_blocking(move || engine.run(work.plan(), work.control()));
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            result = &mut run => return outcome(result),
            _ = looks.tick() => job.observe(),
        }
    }
}

fn outcome(result: Result<Result<Summary, EngineError>, JoinError>) -> Outcome {
    match result {
        Ok(Ok(summary)) => Outcome::Finished(Arc::new(summary)),
        Ok(Err(EngineError::Cancelled)) => Outcome::Cancelled,
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(_) => Outcome::Failed(EngineError::Broken.to_string()),
    }
}
