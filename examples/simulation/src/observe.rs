//! The metrics of the service, all in one place.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::progress::Outcome;

const JOBS: &str = "simulation_jobs_total";
const ITERATIONS: &str = "simulation_iterations_total";
const ACTIVE: &str = "simulation_active_work";
const STREAMS: &str = "simulation_open_streams";

/// Tells the recorder what each metric means.
pub fn describe() {
    describe_counter!(JOBS, "Jobs that ended, by outcome");
    describe_counter!(ITERATIONS, "Samples drawn by jobs that ended");
    describe_gauge!(ACTIVE, "Jobs and direct runs that run or wait");
    describe_gauge!(STREAMS, "Open WebSockets");
}

pub(crate) fn job_ended(outcome: &Outcome, iterations: u64) {
    let word = match outcome {
        Outcome::Finished(_) => "finished",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled => "cancelled",
    };
    counter!(JOBS, "outcome" => word).increment(1);
    counter!(ITERATIONS).increment(iterations);
}

pub(crate) fn load(active: usize, streams: usize) {
    gauge!(ACTIVE).set(active as f64);
    gauge!(STREAMS).set(streams as f64);
}
