//! The gateway's own metrics: those of the crates it composes, for Prometheus at `/metrics`.

use axum::Router;
use axum::routing::get;
use http::header;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::wiring::results::CachedResults;

/// Records from now on; `None` if this process records already. Before anything else is started:
/// what changes once and is said once, such as a pool's members, must not be said to nobody.
pub(crate) fn record() -> Option<PrometheusHandle> {
    let recorder = PrometheusBuilder::new().install_recorder().ok()?;
    lb_autoscale::observe::describe();
    lb_cache::observe::describe();
    lb_core::observe::describe();
    lb_gpu::observe::describe();
    lb_registry::observe::describe();
    Some(recorder)
}

/// Serves what was recorded, and the cache's numbers as they are now.
pub(crate) fn routes(recorder: PrometheusHandle, results: CachedResults) -> Router {
    let render = move || {
        results.cache.publish_metrics();
        let text = recorder.render();
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    Router::new().route("/metrics", get(render))
}
