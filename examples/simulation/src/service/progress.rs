//! `/simulations/{id}/progress`: a job's numbered messages, resumable after any
//! of them. Ends with code 1000 after the final one.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::App;
use super::problem::Problem;
use super::simulations::{IdInPath, find};
use super::streams::{Heard, Stream};
use crate::jobs::Job;
use crate::progress::Message;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProgressQuery {
    /// The last number the client has seen; 0: none.
    after: u64,
}

pub(super) async fn follow(
    State(app): State<App>,
    id: IdInPath,
    query: Result<Query<ProgressQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let job = find(&app, id)?;
    let hint = "the only parameter is after=N, the last number you received";
    let Query(query) = query.map_err(|error| Problem::bad("query", error.body_text(), hint))?;
    let newest = job.log().last_seq();
    if query.after > newest {
        let error = format!(
            "number {} was never given out, the newest is {newest}",
            query.after
        );
        return Err(Problem::bad("after", error, hint));
    }
    app.shared
        .streams
        .accept(upgrade, move |stream| send(stream, job, query.after))
}

async fn send(mut stream: Stream, job: Arc<Job>, mut seen: u64) {
    let mut changes = job.changes();
    loop {
        // One message at a time: nothing is copied for a client that is not there yet.
        let next = job.log().after(seen).next();
        if let Some(message) = next {
            seen = message.seq;
            if !send_one(&mut stream, &message).await {
                return;
            }
            continue;
        }
        if job.log().outcome().is_some() {
            // Looked at the log before the outcome: is there anything in between?
            if job.log().last_seq() > seen {
                continue;
            }
            return stream.close("the simulation has ended").await;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            heard = stream.listen() => if heard == Heard::Gone { return },
        }
    }
}

async fn send_one(stream: &mut Stream, message: &Message) -> bool {
    match serde_json::to_string(message) {
        Ok(text) => stream.send(text).await,
        Err(_) => false,
    }
}
