//! What the judge sends. Each kind of traffic is a worker that takes one round
//! after the other until it is told to stop.

mod client;
pub mod direct;
pub mod jobs;
pub mod reads;
mod socket;
pub mod tunnels;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Args;
use crate::ledger::{Kind, Ledger};
use crate::phases::{Moment, Phases};
use client::{Answer, Client};

/// How long an idempotent request is repeated during a crash.
const CRASH_TRIES: u32 = 60;
const CRASH_PAUSE: Duration = Duration::from_millis(250);
/// Specifications differ by their seed only, and seeds repeat.
pub(crate) const SEEDS: u64 = 3;

/// What the workers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Traffic {
    target: Arc<str>,
    args: Arc<Args>,
    ledger: Arc<Mutex<Ledger>>,
    phases: Phases,
    client: Client,
    stopped: Arc<AtomicBool>,
}

impl Traffic {
    pub(crate) fn new(
        target: &str,
        args: Args,
        ledger: Arc<Mutex<Ledger>>,
        phases: Phases,
    ) -> Self {
        let deadline = Duration::from_millis(args.deadline_ms);
        Self {
            target: target.into(),
            args: Arc::new(args),
            ledger,
            phases,
            client: Client::new(target, deadline),
            stopped: Arc::default(),
        }
    }

    /// No further round begins.
    pub(crate) fn stop(&self) {
        // Relaxed: a flag that guards no other memory.
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lose(&self, kind: Kind, what: impl Into<String>) {
        self.ledger().lose(self.phases.phase(), kind, what);
    }

    /// Pauses, then says whether round number `round` should begin.
    async fn next_round(&self, round: u64) -> bool {
        if round > 0 {
            sleep(Duration::from_millis(self.args.pause_ms)).await;
        }
        let limit = self.args.rounds;
        // Relaxed: as in `stop`.
        let stopped = self.stopped.load(Ordering::Relaxed) || self.phases.is_finishing();
        !stopped && (limit == 0 || round < limit)
    }

    /// Sends an idempotent request. During a crash it is sent again until it is
    /// answered; otherwise every failure is a loss.
    async fn idempotent(&self, method: Method, path: &str, body: &str) -> Option<Answer> {
        let begun = self.phases.moment();
        self.ledger().requests.sent += 1;
        for attempt in 0..CRASH_TRIES {
            if attempt > 0 {
                self.ledger().requests.retried += 1;
                sleep(CRASH_PAUSE).await;
            }
            match self.client.send(method.clone(), path, body).await {
                Ok(answer) => {
                    self.ledger().requests.answered += 1;
                    return Some(answer);
                }
                Err(error) if attempt + 1 == CRASH_TRIES || !self.excuses(begun).await => {
                    self.lose(Kind::Request, format!("{method} {path}: {error}"));
                    return None;
                }
                Err(_) => {}
            }
        }
        None
    }

    async fn excuses(&self, begun: Moment) -> bool {
        self.phases.excused_by_crash(begun).await
    }

    /// The specification of seed number `seed`.
    fn spec(&self, seed: u64, iterations: u64) -> String {
        json!({
            "inputs": {
                "price": {"distribution": "normal", "mean": 100.0, "std_dev": 15.0},
                "volume": {"distribution": "triangular", "min": 800.0, "mode": 1000.0, "max": 1500.0},
                "cost": {"distribution": "lognormal", "mu": 11.0, "sigma": 0.2},
            },
            "formula": "price * volume - cost",
            "iterations": iterations,
            "seed": seed,
        })
        .to_string()
    }

    /// Two results of one seed must be the same, whoever computed them.
    fn compare(&self, seed: u64, what: &str, result: &Value) {
        let same = self.ledger().same_result(seed, result);
        if !same {
            self.lose(Kind::DifferentResult, format!("{what}, seed {seed}"));
        }
    }
}
