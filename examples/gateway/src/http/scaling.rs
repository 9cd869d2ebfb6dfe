//! The scaling API: how the fleet is, and how it should be.
//!
//! | path under `/enterprise/scaling` | answer |
//! |---|---|
//! | `GET load-balancer/status` | the pool: policy, endpoints, requests in flight |
//! | `GET instances` | what the registry knows |
//! | `GET cache/stats` | hits, misses, loads |
//! | `GET performance/summary` | totals and latencies in one object |
//! | `GET health` | 200 if anybody can serve, else 503 |
//! | `GET auto-scaling` | a page for people: the last decisions in words and pictures; below it lb-autoscale's `status`, `decisions`, `why`, `why.svg`, `record`, `spec`, `audit` |
//! | `GET registry` | lb-registry's own view: the followed set, and whether it is fresh; below it the set by name |
//! | `GET gpus` | lb-gpu's own view of this machine's devices; below it `health` and `metrics` |
//! | `POST load-balancer/configure` | `{"policy": {"policy": "round_robin"}, "weights": {"sim-0": 3}, "draining": {"sim-1": true}, "limits": {"requests_per_second": 10}}` |
//! | `POST auto-scaling/configure` | `{"min_replicas": 3, "max_replicas": 5}`, or a whole `{"spec": {…}}` |
//! | `POST cache/clear` | empties the cache |
//!
//! # What it does not do
//!
//! There are no roles yet: everybody on this machine may do everything, and nobody else anything.
//! Callers from other addresses get 403. Changes must be sent as `application/json`, which a page
//! of another origin cannot do without asking first.

mod changes;
mod views;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, get_service, post};
use http::{Method, StatusCode, header};
use lb_autoscale::run::Control;
use lb_core::Pool;
use lb_core::proxy::PeerAddr;
use lb_gpu::Sampler;
use lb_registry::{Discovery as _, InProcess};

use super::Problem;
use crate::wiring::SERVICE;
use crate::wiring::limits::Limits;
use crate::wiring::results::CachedResults;
use crate::wiring::weights::Weights;

/// What is looked at and changed.
#[derive(Clone, Debug)]
pub struct Scaling {
    /// The balancer.
    pub pool: Pool,
    /// Weights an operator has set; they outlive changes in the registry.
    pub weights: Weights,
    /// What clients may send.
    pub limits: Limits,
    /// The registry.
    pub registry: InProcess,
    /// The autoscaler.
    pub control: Control,
    /// This machine's GPUs.
    pub gpus: Arc<Sampler>,
    /// The cache in front of results.
    pub results: CachedResults,
    /// When all of it began.
    pub begun: Instant,
}

impl Scaling {
    /// The routes.
    pub fn routes(self) -> Router {
        let explained = lb_autoscale::admin::Admin::new(self.control.clone());
        let followed = lb_registry::admin::Admin::of([self.registry.watch(SERVICE)]);
        let devices = lb_gpu::admin::Admin::new(&self.gpus);
        let routes = Router::new()
            .route("/load-balancer/status", get(views::balancer))
            .route("/load-balancer/configure", post(changes::balancer))
            .route("/instances", get(views::instances))
            .route("/cache/stats", get(views::cache))
            .route("/cache/clear", post(changes::clear_cache))
            .route("/auto-scaling/configure", post(changes::autoscaler))
            // To be read only: what may be changed is checked by the routes beside it.
            .nest_service("/auto-scaling", get_service(explained))
            .nest_service("/registry", get_service(followed))
            .nest_service("/gpus", get_service(devices))
            .route("/performance/summary", get(views::summary))
            .route("/health", get(views::health))
            .fallback(Problem::no_such_scaling_path)
            .method_not_allowed_fallback(Problem::no_such_scaling_path)
            .layer(from_fn(guard))
            .with_state(Arc::new(self));
        Router::new().nest("/enterprise/scaling", routes)
    }
}

/// Callers on this machine only, and changes as JSON only.
async fn guard(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<PeerAddr>();
    if !peer.is_some_and(|peer| peer.0.ip().is_loopback()) {
        let hint = "ask from the machine that the gateway runs on";
        return Problem::new(StatusCode::FORBIDDEN, "not from here", hint).into_response();
    }
    let kind = request.headers().get(header::CONTENT_TYPE);
    let json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if request.method() == Method::POST && !json {
        let (error, hint) = ("not JSON", "send content-type: application/json");
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, hint).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests;
