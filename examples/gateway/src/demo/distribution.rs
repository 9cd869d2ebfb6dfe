//! Who gets the requests, policy by policy, counted by the answers of real requests.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use lb_core::EndpointId;
use lb_core::policy::PolicyConfig;
use serde_json::json;

use super::Stage;
use super::visitor::WhoAmI;
use crate::clock;

/// Requests per policy.
const REQUESTS: u32 = 240;
/// Of them at one time.
const AT_ONCE: usize = 8;
/// Names that the library may know; those it does not are left out of the table.
const POLICIES: [&str; 7] = [
    "round_robin",
    "weighted_round_robin",
    "random",
    "least_request",
    "least_response_time",
    "resource_based",
    "consistent_hash",
];

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage
        .show
        .chapter("Distribution: 240 requests per policy, counted by who answered");
    let endpoints = stage.gateway.pool.endpoints();
    let ids: Vec<EndpointId> = endpoints
        .iter()
        .map(|endpoint| endpoint.id().clone())
        .collect();
    let before = stage.gateway.pool.policy();
    let mut rows = Vec::new();
    for name in POLICIES {
        let Ok(policy) = serde_json::from_value::<PolicyConfig>(json!({ "policy": name })) else {
            continue;
        };
        stage.gateway.pool.set_policy(policy)?;
        rows.push(row(stage, name, &ids).await);
        if name == "weighted_round_robin" {
            weigh(stage, &ids, |index| ids.len() as u32 - index as u32);
            rows.push(row(stage, "weighted_round_robin, falling weights", &ids).await);
            weigh(stage, &ids, |_| 1);
        }
    }
    stage.gateway.pool.set_policy(before)?;
    print(stage, &ids, &rows);
    claims(stage, &rows);
    Ok(())
}

/// What one policy did.
struct Row {
    policy: String,
    counts: Vec<u32>,
    failed: u32,
    per_second: f64,
}

fn weigh(stage: &Stage<'_>, ids: &[EndpointId], weight: impl Fn(usize) -> u32) {
    for (index, id) in ids.iter().enumerate() {
        stage.gateway.pool.set_weight(id, weight(index));
    }
}

async fn row(stage: &Stage<'_>, policy: &str, ids: &[EndpointId]) -> Row {
    let begun = clock::now();
    let answers = stream::iter(0..REQUESTS).map(|_| {
        let mut stranger = stage.visitor.stranger();
        async move { stranger.get::<WhoAmI>("/whoami").await }
    });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    let took = clock::now().saturating_duration_since(begun);
    let mut counts = BTreeMap::<String, u32>::new();
    for answer in answers.into_iter().flatten() {
        *counts.entry(answer.instance).or_default() += 1;
    }
    Row {
        policy: policy.to_owned(),
        counts: ids
            .iter()
            .map(|id| counts.get(id.as_str()).copied().unwrap_or(0))
            .collect(),
        failed: REQUESTS - counts.values().sum::<u32>(),
        per_second: f64::from(REQUESTS) / took.as_secs_f64(),
    }
}

fn print(stage: &Stage<'_>, ids: &[EndpointId], rows: &[Row]) {
    let mut header = vec!["policy"];
    header.extend(ids.iter().map(EndpointId::as_str));
    header.extend(["failed", "requests/s"]);
    let cells = rows.iter().map(|row| {
        let mut cells = vec![row.policy.clone()];
        cells.extend(row.counts.iter().map(u32::to_string));
        cells.extend([row.failed.to_string(), format!("{:.0}", row.per_second)]);
        cells
    });
    stage.show.table(&header, &cells.collect::<Vec<_>>());
}

fn claims(stage: &mut Stage<'_>, rows: &[Row]) {
    let failed: u32 = rows.iter().map(|row| row.failed).sum();
    let sent = REQUESTS * u32::try_from(rows.len()).unwrap_or(u32::MAX);
    stage
        .show
        .claim(failed == 0, &format!("all {sent} requests were answered"));
    for row in rows {
        let (least, most) = (row.counts.iter().min(), row.counts.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        if row.policy == "round_robin" {
            let text = format!("round robin is even: {least} to {most} per instance");
            stage.show.claim(most - least <= 1, &text);
        } else if row.policy.contains("falling weights") {
            let falls = row.counts.windows(2).all(|pair| pair[0] > pair[1]);
            stage.show.claim(falls, "weights shape the shares");
        }
    }
}
