//! A client that submits one job and watches it, and does not trust what it sees.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::visitor::Visitor;
use crate::clock;

/// Resumptions of one stream before the client gives up.
const RESUMPTIONS: u32 = 20;

/// One progress message, as far as this client cares.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Progress {
    pub(super) seq: u64,
    pub(super) percent: f64,
    pub(super) attempt: u32,
    pub(super) status: String,
    #[serde(default)]
    pub(super) instance: Option<String>,
    #[serde(default)]
    pub(super) iterations_per_second: f64,
    #[serde(default)]
    pub(super) result: Option<Value>,
}

/// A job as its client has seen it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) messages: u64,
    pub(super) gaps: u64,
    pub(super) steps_back: u64,
    pub(super) resumed: u32,
    pub(super) took: Duration,
    pub(super) last: Option<Progress>,
}

impl Watched {
    fn note(&mut self, message: Progress) {
        self.messages += 1;
        let before = self
            .last
            .as_ref()
            .map_or((0, 0.0), |last| (last.seq, last.percent));
        self.gaps += u64::from(message.seq != before.0 + 1);
        self.steps_back += u64::from(message.percent < before.1);
        self.last = Some(message);
    }

    /// The number of the newest message.
    pub(super) fn seq(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.seq)
    }

    pub(super) fn attempts(&self) -> u32 {
        self.last.as_ref().map_or(0, |last| last.attempt)
    }

    pub(super) fn result(&self) -> Option<&Value> {
        self.last.as_ref().and_then(|last| last.result.as_ref())
    }

    /// Every number once and in order, no step back, and a result at the end.
    pub(super) fn is_whole(&self) -> bool {
        self.gaps == 0 && self.steps_back == 0 && self.result().is_some()
    }
}

/// The demonstration's question: what is left after cost, when nothing is certain?
pub(super) fn spec(iterations: u64, seed: u64) -> Value {
    let inputs = BTreeMap::from([
        (
            "price",
            json!({"distribution": "lognormal", "mu": 4.0, "sigma": 0.25}),
        ),
        (
            "volume",
            json!({"distribution": "triangular", "min": 50, "mode": 80, "max": 140}),
        ),
        (
            "cost",
            json!({"distribution": "normal", "mean": 1800, "std_dev": 250}),
        ),
    ]);
    json!({"inputs": inputs, "formula": "price * volume - cost", "iterations": iterations, "seed": seed})
}

/// Iterations that one job does in a second here, measured by doing some: the demonstration lasts
/// as long on a slow machine as on a fast one.
pub(super) async fn speed(visitor: &mut Visitor) -> anyhow::Result<f64> {
    let mut speed = 0.0;
    for (id, iterations) in [
        ("warm-up-1", 200_000),
        ("warm-up-2", 2_000_000),
        ("warm-up-3", 20_000_000),
    ] {
        submit(visitor, id, &spec(iterations, 1), false).await?;
        let watched = watch(visitor, id, |_| Next::Read).await?;
        anyhow::ensure!(watched.result().is_some(), "{id} gave no result");
        speed = iterations as f64 / watched.took.as_secs_f64().max(1e-3);
        if watched.took > Duration::from_millis(300) {
            break;
        }
    }
    Ok(speed)
}

/// Submits a job; it may be told to accept a known result.
pub(super) async fn submit(
    visitor: &mut Visitor,
    id: &str,
    spec: &Value,
    reuse: bool,
) -> anyhow::Result<()> {
    let query = if reuse { "?reuse=true" } else { "" };
    let path = format!("/simulations/{id}{query}");
    let answer = visitor.send(Method::PUT, &path, spec.to_string()).await?;
    let text = String::from_utf8_lossy(answer.body());
    anyhow::ensure!(
        answer.status().is_success(),
        "PUT {path}: {} {text}",
        answer.status()
    );
    Ok(())
}

/// Watches a job to its end over one WebSocket after the other.
pub(super) async fn watch(
    visitor: &Visitor,
    id: &str,
    mut on_message: impl FnMut(&Progress) -> Next,
) -> anyhow::Result<Watched> {
    let begun = clock::now();
    let mut watched = Watched::default();
    while watched.resumed <= RESUMPTIONS {
        match connection(visitor, id, &mut watched, &mut on_message).await {
            Ok(true) => {
                watched.took = clock::now().saturating_duration_since(begun);
                return Ok(watched);
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(id, %error, "resuming"),
        }
        watched.resumed += 1;
    }
    anyhow::bail!("{id} did not end after {RESUMPTIONS} resumptions")
}

/// What to do after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read on.
    Read,
    /// Hang up without a word, and come back.
    HangUp,
}

/// One WebSocket; `true` once the final message has come and the socket was closed in order.
async fn connection(
    visitor: &Visitor,
    id: &str,
    watched: &mut Watched,
    on_message: &mut impl FnMut(&Progress) -> Next,
) -> anyhow::Result<bool> {
    let path = format!("/simulations/{id}/progress?after={}", watched.seq());
    let mut stream = visitor.open(&path).await?;
    while let Some(message) = stream.next::<Progress>().await? {
        let next = on_message(&message);
        watched.note(message);
        if next == Next::HangUp {
            return Ok(false);
        }
    }
    let last = watched
        .last
        .as_ref()
        .context("a stream without a message")?;
    anyhow::ensure!(
        ["finished", "failed", "cancelled"].contains(&last.status.as_str()),
        "early end"
    );
    Ok(true)
}
