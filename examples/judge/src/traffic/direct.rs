//! Direct runs, `POST /simulate`: not idempotent, sent once or not at all.

use http::Method;

use super::{SEEDS, Traffic};
use crate::ledger::Kind;
use crate::phases::Phase;

const ITERATIONS: u64 = 5_000;
/// Direct runs and jobs have results of their own.
const FIRST_SEED: u64 = 1_000;

pub(crate) async fn work(traffic: Traffic) {
    let mut round = 0;
    while traffic.next_round(round).await {
        round += 1;
        if traffic.phases.phase() != Phase::Crash {
            one(&traffic, FIRST_SEED + round % SEEDS).await;
        }
    }
}

async fn one(traffic: &Traffic, seed: u64) {
    let begun = traffic.phases.moment();
    traffic.ledger().requests.sent += 1;
    let spec = traffic.spec(seed, ITERATIONS);
    match traffic.client.send(Method::POST, "/simulate", &spec).await {
        Ok(answer) => {
            traffic.ledger().requests.answered += 1;
            match answer.body.get("result") {
                Some(result) => traffic.compare(seed, "a direct run", result),
                None => traffic.lose(Kind::NoResult, "POST /simulate"),
            }
        }
        Err(_) if traffic.excuses(begun).await => traffic.ledger().requests.excused += 1,
        Err(error) => traffic.lose(Kind::Request, format!("POST /simulate: {error}")),
    }
}
