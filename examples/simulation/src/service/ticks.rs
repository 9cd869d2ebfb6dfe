//! `/ticks`: a finite stream of numbered ticks, to see that a tunnel holds.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};

use super::App;
use super::problem::Problem;
use super::streams::{Heard, Stream};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TicksQuery {
    /// How many ticks.
    count: u64,
    /// Milliseconds between them.
    every_ms: u64,
    /// Number of the first one.
    from: u64,
}

impl Default for TicksQuery {
    fn default() -> Self {
        Self {
            count: 10,
            every_ms: 100,
            from: 1,
        }
    }
}

pub(super) async fn stream(
    State(app): State<App>,
    query: Result<Query<TicksQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let hint = "parameters: count up to 100000, every_ms 1 to 60000, from up to 10^15";
    let Query(query) = query.map_err(|error| Problem::bad("query", error.body_text(), hint))?;
    let possible = query.count <= 100_000
        && (1..=60_000).contains(&query.every_ms)
        && query.from <= 1_000_000_000_000_000;
    if !possible {
        return Err(Problem::bad("query", "a parameter is out of range", hint));
    }
    let instance = app.shared.id.clone();
    app.shared
        .streams
        .accept(upgrade, move |stream| tick(stream, query, instance))
}

async fn tick(mut stream: Stream, query: TicksQuery, instance: String) {
    let mut pace = interval(Duration::from_millis(query.every_ms));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in query.from..query.from + query.count {
        loop {
            tokio::select! {
                _ = pace.tick() => break,
                heard = stream.listen() => if heard == Heard::Gone { return },
            }
        }
        let text = serde_json::json!({ "instance": instance, "tick": tick }).to_string();
        if !stream.send(text).await {
            return;
        }
    }
    stream.close("that was the last tick").await;
}
