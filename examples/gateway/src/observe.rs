//! The gateway's own metrics: those of the crates it composes, for Prometheus at `/metrics`.

use axum::Router;
use axum::routing::get;
use http::header;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::wiring::results::CachedResults;

/// Records from now on and serves what was recorded; nothing if this process records already.
pub(crate) fn routes(results: CachedResults) -> Router {
    let Ok(recorder) = PrometheusBuilder::new().install_recorder() else {
        return Router::new();
    };
    lb_autoscale::observe::describe();
    lb_cache::observe::describe();
    lb_core::observe::describe();
    lb_gpu::observe::describe();
    lb_registry::observe::describe();
    let render = move || {
        results.cache.publish_metrics();
        let text = recorder.render();
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    Router::new().route("/metrics", get(render))
}
