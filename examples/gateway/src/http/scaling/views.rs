//! What can be read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use lb_cache::Stats;
use lb_core::PoolStatus;
use lb_core::pool;
use lb_registry::{Discovery as _, Snapshot};
use serde_json::{Value, json};

use super::Scaling;
use crate::clock;
use crate::wiring::SERVICE;

pub(super) async fn balancer(State(scaling): State<Arc<Scaling>>) -> Json<PoolStatus> {
    Json(scaling.pool.status())
}

pub(super) async fn instances(State(scaling): State<Arc<Scaling>>) -> Json<Arc<Snapshot>> {
    Json(scaling.registry.watch(SERVICE).latest())
}

pub(super) async fn cache(State(scaling): State<Arc<Scaling>>) -> Json<Stats> {
    Json(scaling.results.cache.stats())
}

pub(super) async fn summary(State(scaling): State<Arc<Scaling>>) -> Json<Value> {
    let status = scaling.pool.status();
    let endpoints = &status.endpoints;
    let sum = |number: fn(&pool::EndpointStatus) -> u64| endpoints.iter().map(number).sum::<u64>();
    let latencies = endpoints
        .iter()
        .map(|one| (one.id.to_string(), json!(one.latency_seconds)));
    let uptime = clock::now().saturating_duration_since(scaling.begun);
    let latest = scaling.control.latest();
    Json(json!({
        "uptime_seconds": uptime.as_secs_f64(),
        "instances": endpoints.len(),
        "instances_desired": latest.map(|decision| decision.desired),
        "in_flight": sum(|one| u64::from(one.in_flight)),
        "picks_total": sum(|one| one.picks_total),
        "failures_total": sum(|one| one.failures_total),
        "latency_seconds": latencies.collect::<serde_json::Map<_, _>>(),
        "cache_hit_rate": scaling.results.cache.stats().local.hit_rate(),
    }))
}

pub(super) async fn health(State(scaling): State<Arc<Scaling>>) -> (StatusCode, Json<Value>) {
    let endpoints = scaling.pool.status().endpoints;
    let active = endpoints
        .iter()
        .filter(|one| one.state == pool::State::Active)
        .count();
    let (status, word) = match active {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        _ => (StatusCode::OK, "ok"),
    };
    (
        status,
        Json(json!({ "status": word, "active_instances": active })),
    )
}
