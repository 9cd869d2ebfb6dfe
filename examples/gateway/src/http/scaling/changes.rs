//! What can be changed: all of a request or nothing of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use http::StatusCode;
use lb_autoscale::Spec;
use lb_core::limit::QuotaError;
use lb_core::policy::PolicyConfig;
use lb_core::{EndpointId, PoolStatus};
use lb_registry::Registry as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Scaling;
use crate::http::Problem;
use crate::wiring::limits::PerSecond;

/// More local processes than this would take the machine down.
const MOST_INSTANCES: u32 = 32;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Balancer {
    policy: Option<PolicyConfig>,
    weights: BTreeMap<String, u32>,
    draining: BTreeMap<String, bool>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    requests_per_second: Option<u32>,
    uploads_per_second: Option<u32>,
}

pub(super) async fn balancer(
    State(scaling): State<Arc<Scaling>>,
    body: Bytes,
) -> Result<Json<PoolStatus>, Problem> {
    let hint = r#"send any of {"policy": {"policy": "least_request"}, "weights": {"ID": 2}, "draining": {"ID": true}}"#;
    let wanted: Balancer = read(&body, hint)?;
    for id in wanted.weights.keys().chain(wanted.draining.keys()) {
        if scaling.pool.endpoint(&EndpointId::from(id)).is_none() {
            let hint = "GET /enterprise/scaling/load-balancer/status lists the endpoints";
            return Err(Problem::new(StatusCode::NOT_FOUND, "no such endpoint", hint).field(id));
        }
    }
    let limits = limits(&scaling, wanted.limits)?;
    if let Some(policy) = wanted.policy {
        scaling.pool.set_policy(policy).map_err(|error| {
            let error = error.to_string();
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error, hint).field("policy")
        })?;
    }
    scaling
        .limits
        .set(limits)
        .map_err(|error| unlimited(&error))?;
    scaling.weights.set(&scaling.pool, wanted.weights);
    for (id, draining) in wanted.draining {
        // The registry tells the pool, and whoever else asks.
        let reason = draining.then_some("by an operator");
        scaling
            .registry
            .set_draining(&id, reason)
            .await
            .map_err(|error| {
                let hint = "it left meanwhile; read the status again";
                Problem::new(StatusCode::NOT_FOUND, error.to_string(), hint).field(&id)
            })?;
    }
    Ok(Json(scaling.pool.status()))
}

/// What is not named stays.
fn limits(scaling: &Scaling, wanted: Limits) -> Result<PerSecond, Problem> {
    let now = scaling.limits.get();
    let requests = wanted.requests_per_second.unwrap_or(now.requests());
    let uploads = wanted.uploads_per_second.unwrap_or(now.uploads());
    PerSecond::new(requests, uploads).map_err(|error| unlimited(&error))
}

fn unlimited(error: &QuotaError) -> Problem {
    let hint = r#"send {"limits": {"requests_per_second": 10, "uploads_per_second": 2}}"#;
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), hint).field("limits")
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Autoscaler {
    min_replicas: Option<u32>,
    max_replicas: Option<u32>,
    spec: Option<Spec>,
}

pub(super) async fn autoscaler(
    State(scaling): State<Arc<Scaling>>,
    body: Bytes,
) -> Result<Json<Spec>, Problem> {
    let hint = r#"send {"min_replicas": 3, "max_replicas": 5} or a whole {"spec": {...}}"#;
    let wanted: Autoscaler = read(&body, hint)?;
    let spec = wanted.spec.unwrap_or_else(|| scaling.control.spec());
    let min = wanted.min_replicas.unwrap_or(spec.min_replicas());
    let max = wanted.max_replicas.unwrap_or(spec.max_replicas());
    if max > MOST_INSTANCES {
        let (error, hint) = ("too many instances for one machine", "at most 32");
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error, hint);
        return Err(problem.field("max_replicas"));
    }
    let spec = spec
        .to_builder()
        .replicas(min..=max)
        .build()
        .map_err(|error| {
            let field = error.field().to_owned();
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), hint).field(field)
        })?;
    scaling.control.configure(spec.clone());
    Ok(Json(spec))
}

pub(super) async fn clear_cache(
    State(scaling): State<Arc<Scaling>>,
) -> Result<Json<Value>, Problem> {
    scaling.results.cache.clear().await.map_err(|error| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error.to_string(),
            "try again",
        )
    })?;
    Ok(Json(json!({ "cleared": true })))
}

fn read<T: DeserializeOwned>(body: &[u8], hint: &str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, error.to_string(), hint).field("body")
    })
}
