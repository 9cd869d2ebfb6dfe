use super::*;
use crate::progress::Status;
use montecarlo::engine::{Control, CpuEngine, EngineError};
use montecarlo::summary::Summary;

/// An engine that works until it is cancelled.
struct Endless;

impl Engine for Endless {
    fn run(&self, _: &Plan, control: &Control) -> Result<Summary, EngineError> {
        while !control.is_cancelled() {
            std::thread::yield_now();
        }
        Err(EngineError::Cancelled)
    }
}

/// An engine that panics.
struct Faulty;

impl Engine for Faulty {
    fn run(&self, _: &Plan, _: &Control) -> Result<Summary, EngineError> {
        panic!("a fault of the engine")
    }
}

fn spec(seed: u64) -> Spec {
    let json = format!(
        r#"{{"inputs":{{"x":{{"distribution":"uniform","min":0,"max":1}}}},"formula":"x","iterations":1000,"seed":{seed}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

async fn submitted(jobs: &Jobs, name: &str) -> Arc<Job> {
    assert_eq!(jobs.submit(&id(name), &spec(1)), Ok(Submitted::Accepted));
    jobs.find(&id(name)).unwrap()
}

#[tokio::test]
async fn submitting_again_changes_nothing_and_another_spec_is_a_conflict() {
    let jobs = Jobs::new(CpuEngine::new(1), Limits::default());
    submitted(&jobs, "a").await.wait_for_end().await;
    assert_eq!(jobs.submit(&id("a"), &spec(1)), Ok(Submitted::Known));
    assert_eq!(jobs.submit(&id("a"), &spec(2)), Err(SubmitError::Conflict));
}

#[tokio::test]
async fn the_queue_is_bounded_and_a_cancelled_job_makes_room() {
    let limits = Limits {
        running: 1,
        queued: 1,
        ..Limits::default()
    };
    let jobs = Jobs::new(Endless, limits);
    let first = submitted(&jobs, "a").await;
    let second = submitted(&jobs, "b").await;
    assert_eq!(
        jobs.submit(&id("c"), &spec(1)),
        Err(SubmitError::Full { queued: 1 })
    );
    second.cancel();
    second.wait_for_end().await;
    assert_eq!(second.log().status(), Status::Cancelled);
    let third = submitted(&jobs, "c").await;
    jobs.cancel_all();
    first.wait_for_end().await;
    third.wait_for_end().await;
    assert_eq!(jobs.active(), 0);
}

#[tokio::test]
async fn ended_jobs_are_remembered_up_to_a_number() {
    let limits = Limits {
        remembered: 2,
        ..Limits::default()
    };
    let jobs = Jobs::new(CpuEngine::new(1), limits);
    let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for name in &names {
        submitted(&jobs, name).await.wait_for_end().await;
    }
    let remembered = |name: &&String| jobs.find(&id(name)).is_some();
    // The cache settles in the background: a few more may be there for a moment.
    assert!(names.iter().filter(remembered).count() < 150);
    assert!(remembered(&&names[199]));
}

#[tokio::test]
async fn a_drain_waits_for_running_jobs_and_refuses_new_ones() {
    let jobs = Jobs::new(Endless, Limits::default());
    let job = submitted(&jobs, "a").await;
    let draining = tokio::spawn({
        let jobs = jobs.clone();
        async move { jobs.drain().await }
    });
    while !jobs.shared.tasks.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(jobs.submit(&id("b"), &spec(1)), Err(SubmitError::Draining));
    assert!(!draining.is_finished());
    job.cancel();
    draining.await.unwrap();
}

#[tokio::test]
async fn an_engine_that_breaks_fails_its_job_and_no_other() {
    let jobs = Jobs::new(Faulty, Limits::default());
    let job = submitted(&jobs, "a").await;
    job.wait_for_end().await;
    assert_eq!(
        job.log().latest().error.as_deref(),
        Some("the engine broke off")
    );
    assert_eq!(jobs.active(), 0);
}

#[tokio::test]
async fn a_job_that_takes_too_long_fails() {
    let limits = Limits {
        run_time: Duration::from_millis(20),
        ..Limits::default()
    };
    let jobs = Jobs::new(Endless, limits);
    let job = submitted(&jobs, "a").await;
    job.wait_for_end().await;
    assert_eq!(job.log().status(), Status::Failed);
}
